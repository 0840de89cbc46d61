"""Plain data passed between the config, the engines and the grader.

Every type is a frozen dataclass of JSON-able fields, validated when it is built; `schema` builds them from
parsed JSON or a composed config.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Reason = Literal["correct", "incorrect", "unparsed", "timeout", "gold_invalid"]
FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One benchmark problem."""

    id: str
    """Unique within its benchmark and stable between loads."""
    problem: str
    """The statement, before the benchmark's prompt template."""
    answers: tuple[str, ...]
    """Gold answers. Several mean that a completion must give all of them."""

    def __post_init__(self) -> None:
        if not self.answers:
            raise ValueError(f"problem {self.id!r} has no gold answer")


@dataclass(frozen=True, slots=True)
class Completion:
    """One generated text."""

    problem_id: str
    sample: int
    """Which of the k samples of this problem, from 0."""
    text: str
    tokens: int
    """Generated tokens, the end-of-sequence token included."""
    finish_reason: FinishReason
    """``length``: the token limit came before the end-of-sequence token."""


@dataclass(frozen=True, slots=True)
class Score:
    """What the grader says of one completion."""

    correct: bool | None
    """None where nothing can be said (``timeout``, ``gold_invalid``); never counted as wrong or right."""
    extracted: str | None
    """The answer as found in the completion."""
    reason: Reason


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Where the problems of one benchmark come from, how they are asked and how they are graded."""

    name: str
    kind: Literal["organism", "file", "hub"]
    path: str | None = None
    """Local parquet, JSONL or JSON file. Where it is set, the hub is not asked, whatever `kind` says."""
    hub_id: str | None = None
    subset: str | None = None
    """Configuration name of the hub dataset."""
    revision: str | None = None
    split: str = "test"
    id_column: str | None = None
    """None: the row number, counted after `where`."""
    problem_column: str = "problem"
    answer_column: str = "answer"
    """Its cells hold a string, a number or a list of strings."""
    answer_after: str | None = None
    """Keep what follows the last occurrence of this text in an answer cell (gsm8k: ``####``)."""
    where: dict[str, str] = field(default_factory=dict[str, str])
    """column -> text its cells must contain; other rows do not belong to the benchmark."""
    count: int | None = None
    """Number of problems there must be before `limit`; organism: how many to make."""
    path_count: int | None = None
    """The same for `path`, where local copies are known to differ from the hub's; None: `count`."""
    sha256: str | None = None
    """Content hash there must be before `limit` (`evaluate.problems.content_hash`)."""
    prompt: str = "{problem}"
    """User turn; ``{problem}`` is replaced, other braces stay as they are."""
    grader: Literal["exact", "math"] = "math"
    limit: int | None = None
    """Keep the first `limit` problems."""

    def __post_init__(self) -> None:
        where = f"evaluate.benchmarks.{self.name}"
        _one_of(f"{where}.kind", self.kind, ("organism", "file", "hub"))
        _one_of(f"{where}.grader", self.grader, ("exact", "math"))
        if self.kind == "file" and self.path is None:
            raise ValueError(f"{where}.path is not set, but kind=file reads the problems from it")
        if self.kind == "hub" and self.path is None and self.hub_id is None:
            raise ValueError(f"{where}.hub_id is not set; give it or a local {where}.path")
        if "{problem}" not in self.prompt:
            raise ValueError(f"{where}.prompt lacks the placeholder {{problem}}: {self.prompt!r}")
        for key in ("count", "path_count", "limit"):
            value: int | None = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{where}.{key}={value} must be at least 1")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    samples: int = 1
    """k, completions per problem."""
    max_new_tokens: int = 32768
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"evaluate.sampling.temperature={self.temperature} must be 0 (greedy) or positive")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"evaluate.sampling.top_p={self.top_p} must be in (0, 1]")
        if self.samples < 1 or self.max_new_tokens < 1:
            raise ValueError("evaluate.sampling.samples and evaluate.sampling.max_new_tokens must be at least 1")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"evaluate.sampling.samples={self.samples} with temperature=0 gives {self.samples} equal completions; "
                "set evaluate.sampling.temperature (0.6 to 0.8 is usual) or samples=1"
            )


@dataclass(frozen=True, slots=True)
class Prompt:
    """System turns of a comparison."""

    system: str | None = None
    """System turn of every trained arm; None leaves it to the chat template."""
    base: str | None = None
    """System turn of the untrained model; None: the same as the trained arms get."""

    def system_for(self, arm: str) -> str | None:
        """System turn for `arm`; ``base`` is the untrained model."""
        return self.base if arm == "base" and self.base is not None else self.system


@dataclass(frozen=True, slots=True)
class Engine:
    """How completions are computed. Nothing here but `name`, `dtype` and `merge` may change what a model says."""

    name: Literal["transformers"] = "transformers"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    merge: bool = False
    """Fold adapters into the weights before generating; one path for all arms of a comparison."""
    batch_size: int = 128
    threads: int | None = None
    """CPU threads; None leaves it to torch."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        _one_of("evaluate.engine.name", self.name, ("transformers",))
        _one_of("evaluate.engine.dtype", self.dtype, ("auto", "float32", "bfloat16", "float16"))
        _one_of("evaluate.engine.device", self.device, ("auto", "cpu", "cuda"))
        if self.batch_size < 1:
            raise ValueError(f"evaluate.engine.batch_size={self.batch_size} must be at least 1")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"evaluate.engine.threads={self.threads} must be at least 1")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The `evaluate` part of an experiment."""

    benchmarks: dict[str, Benchmark]
    sampling: Sampling = field(default_factory=Sampling)
    prompt: Prompt = field(default_factory=Prompt)
    engine: Engine = field(default_factory=Engine)
    limit: int | None = None
    """Upper bound on the `limit` of every benchmark."""

    def __post_init__(self) -> None:
        if not self.benchmarks:
            raise ValueError("evaluate.benchmarks is empty; choose some, for example evaluate=math500")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"evaluate.limit={self.limit} must be at least 1")

    def selected(self) -> tuple[Benchmark, ...]:
        """The benchmarks in order, with `limit` applied to each."""
        if self.limit is None:
            return tuple(self.benchmarks.values())
        bound = self.limit
        return tuple(dataclasses.replace(b, limit=min(b.limit or bound, bound)) for b in self.benchmarks.values())


@dataclass(frozen=True, slots=True)
class GenerateSpec:
    """Work order for an engine: one model or adapter, one file of prompts."""

    model: str
    """Local folder or hub id."""
    prompts: str
    """JSONL with `problem_id` and `prompt` (the user turn) per line."""
    out: str
    """JSONL of `Completion`s, appended to; metrics go beside it as ``metrics.json``."""
    sampling: Sampling
    engine: Engine = field(default_factory=Engine)
    revision: str | None = None
    adapter: str | None = None
    """Local folder of a PEFT adapter."""
    tokenizer: str | None = None
    """Local folder or hub id; None: the model's own."""
    system_prompt: str | None = None


def _one_of(where: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{where}={value!r} is unknown; choose one of {', '.join(allowed)}")


def read_completions(path: Path) -> list[Completion]:
    """Completions of a JSONL file in the order they were written; none where the file is absent.

    A last line without its newline is what a killed engine leaves behind: it is left out.

    Raises:
        ValueError: another line cannot be read; names file and line.
    """
    if not path.is_file():
        return []
    *lines, _torn = path.read_text(encoding="utf-8").split("\n")
    completions: list[Completion] = []
    for number, line in enumerate(lines, start=1):
        try:
            completions.append(Completion(**json.loads(line)))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path}:{number} is not a completion ({error}); delete the file to generate anew"
            ) from None
    return completions
