"""Benchmark problems from a local file or the hub, checked against the count and content hash of their yaml.

A local file either copies the hub's columns or has the plain layout: `problem` and `answers` (list of gold strings),
optionally `id`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from evaluate.spec import Benchmark, Problem

Row = Mapping[str, Any]


def load_problems(benchmark: Benchmark) -> list[Problem]:
    """Problems of `benchmark` in the order of their source, cut to `benchmark.limit`.

    Args:
        benchmark: kind ``file`` or ``hub``; the organism makes its own problems.

    Raises:
        FileNotFoundError: `benchmark.path` is missing.
        OSError: the hub does not answer and the data set is not in its cache.
        ValueError: a column is missing, a gold answer is empty, or count or content hash differ.
    """
    rows = _read_local(benchmark) if benchmark.path is not None else _read_hub(benchmark)
    plain = benchmark.path is not None and all("answers" in row for row in rows)
    problems = (
        [_plain_problem(benchmark, i, row) for i, row in enumerate(rows)] if plain else _problems(benchmark, rows)
    )
    _check(benchmark, problems)
    return problems[: benchmark.limit]


def content_hash(problems: Iterable[Problem]) -> str:
    """Sha256 hex of the statements and gold answers in order, whatever file or library they came through."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.problem, *problem.answers], ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def user_turn(benchmark: Benchmark, problem: Problem) -> str:
    """What the model is asked: the benchmark's prompt with the problem in it."""
    return benchmark.prompt.replace("{problem}", problem.problem)


def _read_local(benchmark: Benchmark) -> list[Row]:
    path = Path(cast(str, benchmark.path))
    key = f"evaluate.benchmarks.{benchmark.name}.path"
    if not path.is_file():
        raise FileNotFoundError(f"{key}={path} does not exist (looked in {Path.cwd()})")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return cast("list[Row]", pq.read_table(path).to_pylist())
    if path.suffix not in (".jsonl", ".json"):
        raise ValueError(f"{key}={path} must end in .parquet, .jsonl or .json")
    text = path.read_text(encoding="utf-8")
    try:
        rows = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if path.suffix == ".jsonl"
            else json.loads(text)
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{key}={path} is not {path.suffix[1:].upper()}: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in cast("list[object]", rows)):
        raise ValueError(f"{key}={path} must hold one object per problem")
    return cast("list[Row]", rows)


def _read_hub(benchmark: Benchmark) -> list[Row]:
    if benchmark.kind != "hub":
        raise ValueError(
            f"benchmark {benchmark.name} is of kind {benchmark.kind}; its problems are not read from a file"
        )
    import datasets

    try:
        loaded = datasets.load_dataset(
            cast(str, benchmark.hub_id), benchmark.subset, split=benchmark.split, revision=benchmark.revision
        )
    except Exception as error:
        # The hub client raises a dozen unrelated types; the user needs one sentence with the way round it.
        raise OSError(
            f"cannot load {benchmark.hub_id} from the hub ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"give a local copy with evaluate.benchmarks.{benchmark.name}.path=FILE"
        ) from error
    return cast("list[Row]", loaded.to_list())


def _plain_problem(benchmark: Benchmark, index: int, row: Row) -> Problem:
    return Problem(
        id=str(row["id"]) if row.get("id") is not None else str(index),
        problem=str(_cell(benchmark, row, "problem")),
        answers=tuple(_answer_text(a) for a in row["answers"]),
    )


def _problems(benchmark: Benchmark, rows: list[Row]) -> list[Problem]:
    kept = [
        r for r in rows if all(text in str(_cell(benchmark, r, column)) for column, text in benchmark.where.items())
    ]
    problems: list[Problem] = []
    for index, row in enumerate(kept):
        gold = _cell(benchmark, row, benchmark.answer_column)
        answers = tuple(_answer_text(a) for a in cast("list[object]", gold if isinstance(gold, list) else [gold]))
        if benchmark.answer_after is not None:
            answers = tuple(a.rpartition(benchmark.answer_after)[2].strip() for a in answers)
        problems.append(
            Problem(
                id=str(index if benchmark.id_column is None else _cell(benchmark, row, benchmark.id_column)),
                problem=str(_cell(benchmark, row, benchmark.problem_column)),
                answers=answers,
            )
        )
    return problems


def _cell(benchmark: Benchmark, row: Row, column: str) -> Any:
    if column not in row:
        raise ValueError(
            f"benchmark {benchmark.name}: no column {column!r} (there are: {', '.join(row)}); "
            f"see evaluate.benchmarks.{benchmark.name}.*_column and .where"
        )
    return row[column]


def _answer_text(value: object) -> str:
    """Gold as text. Some data sets store whole numbers as floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check(benchmark: Benchmark, problems: list[Problem]) -> None:
    source = benchmark.path if benchmark.path is not None else f"{benchmark.hub_id}@{benchmark.revision or 'main'}"
    key = f"evaluate.benchmarks.{benchmark.name}"
    count_key = "path_count" if benchmark.path is not None and benchmark.path_count is not None else "count"
    count: int | None = getattr(benchmark, count_key)
    if count is not None and len(problems) != count:
        raise ValueError(
            f"{source} has {len(problems)} problems, {key}.{count_key}={count}; "
            f"check the source, or set {key}.{count_key}={len(problems)} if that is what you mean to score"
        )
    if not problems:
        raise ValueError(f"{source} has no problems for benchmark {benchmark.name}")
    if len({problem.id for problem in problems}) != len(problems):
        raise ValueError(f"{source} repeats problem ids; set {key}.id_column to a unique column or null")
    empty = [problem.id for problem in problems if not all(problem.answers)]
    if empty:
        raise ValueError(f"{source} has no gold answer for {len(empty)} problems, the first is {empty[0]!r}")
    if benchmark.sha256 is not None and (found := content_hash(problems)) != benchmark.sha256:
        raise ValueError(f"{source} has content hash {found}, {key}.sha256={benchmark.sha256}: the problems changed")
