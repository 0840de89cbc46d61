"""The work of the last two stages: generate completions in a child process, grade them here."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaluate.grade import grade
from evaluate.measure import measure
from evaluate.problems import load_problems, user_turn
from evaluate.spec import Benchmark, Completion, GenerateSpec, Problem, read_completions
from organism import corpus as organism
from organism.check import check_trace
from perturbations.keywords import KEYWORDS
from sweeps.atomic import write_text
from sweeps.corpora import write_metrics
from sweeps.experiment import Experiment
from sweeps.launch import run_child
from sweeps.training import ROOT, SPEC

COMPLETIONS = "completions.jsonl"
PROMPTS = "prompts.jsonl"
SCORES = "scores.parquet"


def problems_of(benchmark: Benchmark) -> list[Problem]:
    """The problems of a benchmark, the organism's included, cut to its limit."""
    if benchmark.kind != "organism":
        return load_problems(benchmark)
    if benchmark.split not in ("validation", "test"):
        raise ValueError(f"evaluate.benchmarks.{benchmark.name}.split={benchmark.split!r}: use validation or test")
    count = benchmark.count or 0
    made = organism.held_out(benchmark.split, min(count, benchmark.limit or count))
    return [Problem(one.id, one.problem, (one.answer,)) for one in made]


def generate_spec(experiment: Experiment, adapter: Path | None, out: Path) -> GenerateSpec:
    """The work order for the engine; ``adapter`` is the folder of the train stage, None for the untrained model."""
    evaluation = experiment.evaluate
    tuned = adapter / "adapter" if adapter and experiment.train.lora else None
    whole = adapter / "model" if adapter and not experiment.train.lora else None
    return GenerateSpec(
        model=str(whole) if whole else experiment.model.location,
        prompts=str(out / PROMPTS),
        out=str(out / COMPLETIONS),
        sampling=evaluation.sampling,
        engine=evaluation.engine,
        revision=None if whole else experiment.model.revision,
        adapter=str(tuned) if tuned else None,
        system_prompt=evaluation.prompt.system_for(experiment.arm),
    )


def generate_command(experiment: Experiment, spec: Path) -> list[str]:
    """The command that generates, as it is started and as `dry_run` shows it."""
    return [sys.executable, "-m", f"evaluate.{experiment.evaluate.engine.name}_worker", str(spec)]


def generate(experiment: Experiment, adapter: Path | None, out: Path) -> None:
    """Generate completions for every problem of every benchmark; fills ``out``."""
    rows = [
        {"problem_id": _key(benchmark, problem), "prompt": user_turn(benchmark, problem)}
        for benchmark in experiment.evaluate.selected()
        for problem in problems_of(benchmark)
    ]
    write_text(out / PROMPTS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    spec = generate_spec(experiment, adapter, out)
    write_text(out / SPEC, json.dumps(dataclasses.asdict(spec), indent=1) + "\n")
    run_child(generate_command(experiment, out / SPEC), out / "log.txt", cwd=ROOT)


def score(experiment: Experiment, completions: Path, out: Path) -> None:
    """Grade the completions of a generate stage; fills ``out`` with scores.parquet and metrics.json.

    Raises:
        ValueError: completions are missing; names how many, and an example.
    """
    by_benchmark: dict[str, list[Completion]] = defaultdict(list)
    for completion in read_completions(completions / COMPLETIONS):
        by_benchmark[completion.problem_id.partition("/")[0]].append(completion)
    rows: list[dict[str, Any]] = []
    for benchmark in experiment.evaluate.selected():
        rows += _score(benchmark, by_benchmark[benchmark.name], experiment)
    write_scores(rows, out / SCORES)
    write_metrics(out, {"benchmarks": summarise(rows)})


def _score(benchmark: Benchmark, completions: list[Completion], experiment: Experiment) -> list[dict[str, Any]]:
    problems = [dataclasses.replace(one, id=_key(benchmark, one)) for one in problems_of(benchmark)]
    expected = {(one.id, sample) for one in problems for sample in range(experiment.evaluate.sampling.samples)}
    if missing := sorted(expected - {(one.problem_id, one.sample) for one in completions}):
        raise ValueError(f"{len(missing)} of {len(expected)} completions are missing, the first is {missing[0]}")
    scores = grade(problems, completions, benchmark.grader, experiment.compute.workers)
    texts = {one.id: one.problem for one in problems}
    rows: list[dict[str, Any]] = []
    for completion, verdict in zip(completions, scores, strict=True):
        row = {
            "benchmark": benchmark.name,
            "problem_id": completion.problem_id.partition("/")[2],
            "sample": completion.sample,
            **dataclasses.asdict(verdict),
            "tokens": completion.tokens,
            "finish_reason": completion.finish_reason,
            **dataclasses.asdict(measure(completion.text, completion.finish_reason, verdict.correct, KEYWORDS)),
        }
        if benchmark.kind == "organism":
            check = check_trace(texts[completion.problem_id], completion.text)
            row |= {"steps": check.steps, "follow": check.follow, "right": check.right}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["problem_id"], row["sample"]))


def write_scores(rows: list[dict[str, Any]], path: Path) -> None:
    """Write scores.parquet: a row per benchmark, problem and sample; analysis reads nothing else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.int64()
    columns = {"benchmark": text, "problem_id": text, "sample": number, "correct": pa.bool_(), "extracted": text}
    columns |= {"reason": text, "tokens": number, "finish_reason": text, "truncated": pa.bool_()}
    columns |= {"looping": pa.bool_(), "well_formed": pa.bool_(), "keywords": number, "confidently_wrong": pa.bool_()}
    columns |= {"steps": number, "follow": number, "right": number}
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items()))), path)


def summarise(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Accuracy in per cent by benchmark, with its 95 % interval and counts.

    The interval is Wilson's over problems (a problem with several samples counts as one observation of their mean,
    which is wider than the truth). Completions that could not be graded are in no mean; they are counted.
    """
    from scipy.stats import binomtest

    grouped: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        grouped[row["benchmark"]][row["problem_id"]].append(row)
    summary: dict[str, dict[str, Any]] = {}
    for name, problems in grouped.items():
        everything = [row for samples in problems.values() for row in samples]
        means = [sum(graded) / len(graded) for samples in problems.values() if (graded := _verdicts(samples))]
        interval = binomtest(round(sum(means)), len(means)).proportion_ci(method="wilson") if means else None
        summary[name] = {
            "accuracy": 100 * sum(means) / len(means) if means else None,
            "accuracy_low": 100 * float(interval.low) if interval else None,
            "accuracy_high": 100 * float(interval.high) if interval else None,
            "problems": len(problems),
            "samples": len(everything) // len(problems),
            "ungraded": len(everything) - len(_verdicts(everything)),
            "truncated": 100 * sum(row["finish_reason"] == "length" for row in everything) / len(everything),
            "tokens": sum(row["tokens"] for row in everything) / len(everything),
        }
    return summary


def _verdicts(rows: list[dict[str, Any]]) -> list[bool]:
    return [row["correct"] for row in rows if row["correct"] is not None]


def _key(benchmark: Benchmark, problem: Problem) -> str:
    return f"{benchmark.name}/{problem.id}"
