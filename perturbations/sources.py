"""Where demonstrations come from: local files, saved data sets and pinned hub data sets, nothing skipped unseen."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from perturbations.corpus import StoredCorpus, store, write_atomic
from perturbations.demonstration import Demonstration, RejectedError
from perturbations.readers import read_rows
from perturbations.rows import FORMATS, Format, Segmenter, read_row
from perturbations.segment import SEGMENTERS
from perturbations.segment_llm import read_answers, steps_of_answer

Kind = Literal["hub", "file", "organism"]


@dataclass(frozen=True, slots=True)
class Source:
    """A corpus of demonstrations, as a file under `conf/data/` describes it.

    Attributes:
        name: of the config.
        kind: `file` (a local path), `hub` (a data set by id), or `organism` (made by the organism, not read here).
        path: `.jsonl`, `.jsonl.gz`, `.parquet`, or the folder of a saved data set; for `hub`, a local copy of it.
        hub_id: `owner/name` of a data set.
        revision: commit of the hub data set; without one the result is not reproducible, and the report says so.
        split: of a hub or saved data set.
        format: columns of a row; `auto` looks at the row.
        answer_column: column of the gold answer; a row without it has the boxed one.
        correct_column: boolean column, false for traces whose answer is wrong; a row without it is taken as right.
        segmenter: `paragraph`, `reflection`, or `llm`.
        llm_answers: JSON lines `{"problem_id", "text"}` with the model's answers, for `segmenter: llm`.
        max_demonstrations: the first so many usable rows.
        max_reject_share: share of unusable rows above which reading stops with an error.
        demonstrations: number of them, for `organism` only.
        seed: for `organism` only.
    """

    name: str
    kind: Kind
    path: str | None = None
    hub_id: str | None = None
    revision: str | None = None
    split: str = "train"
    format: Format = "auto"
    answer_column: str = "answer"
    correct_column: str = "correct"
    segmenter: str = "paragraph"
    llm_answers: str | None = None
    max_demonstrations: int | None = None
    max_reject_share: float = 0.05
    demonstrations: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Checks the keys against one another; files are looked at only when they are read."""
        _check(self.kind in ("hub", "file", "organism"), "kind", self.kind, "hub, file or organism")
        _check(self.format in FORMATS, "format", self.format, f"one of {', '.join(FORMATS)}")
        known = (*SEGMENTERS, "llm")
        _check(self.segmenter in known, "segmenter", self.segmenter, f"one of {', '.join(known)}")
        _check(0 <= self.max_reject_share <= 1, "max_reject_share", self.max_reject_share, "a share from 0 to 1")
        most = self.max_demonstrations
        _check(most is None or most > 0, "max_demonstrations", most, "a positive number, or null for all")
        _check(self.kind != "file" or bool(self.path), "path", self.path, "the file to read: data=file data.path=FILE")
        _check(self.kind != "hub" or bool(self.hub_id), "hub_id", self.hub_id, "the data set to read, owner/name")
        needs_answers = self.segmenter == "llm"
        _check(not needs_answers or bool(self.llm_answers), "llm_answers", None, "the file of recorded answers")


def _check(holds: bool, key: str, value: object, wanted: str) -> None:
    if not holds:
        raise ValueError(f"data.{key}={value!r} must be {wanted}")


def fingerprint(source: Source) -> str:
    """Identifies the content a source will yield: what the cache key of a perturbed corpus must hold.

    Args:
        source: of kind `file` or `hub`.

    Returns:
        sha256 over the reading settings and, for local files, their bytes; for the hub, id and revision instead.

    Raises:
        FileNotFoundError: a local path is not there.
    """
    settings = asdict(source)
    for key in ("name", "path", "llm_answers", "max_reject_share"):
        settings.pop(key)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in (source.path, source.llm_answers):
        for file in _files(Path(path)) if path else []:
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"data.path={path} is not there")
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def prepare(source: Source, folder: Path) -> StoredCorpus:
    """Reads a source once and stores its demonstrations, so that every arm starts from the same bytes.

    Writes `demonstrations.arrow`, `rejects.jsonl` (row, reason, message of every row not used) and
    `source.json` (counts: rows, demonstrations, right, wrong, duplicates, rejects by reason; whether it is pinned).

    Args:
        source: of kind `file` or `hub`.
        folder: created if need be.

    Returns:
        The stored corpus, duplicates removed, in the order of the source.

    Raises:
        ValueError: the source cannot be read, or more than `max_reject_share` of its rows cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    first: list[str] = []
    with (folder / "rejects.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as rejected:

        def usable() -> Iterator[Demonstration]:
            for row, result in _results(source):
                counts["rows"] += 1
                if isinstance(result, Demonstration):
                    counts[{True: "right", False: "wrong", None: "unknown"}[result.correct]] += 1
                    yield result
                elif result.reason == "duplicate":
                    counts["duplicates"] += 1
                else:
                    rejects[result.reason] += 1
                    if not first:
                        first.append(f", the first, row {row}: {result}")
                if not isinstance(result, Demonstration):
                    line = {"row": row, "reason": result.reason, "message": str(result)}
                    rejected.write(json.dumps(line, ensure_ascii=False) + "\n")

        corpus = store(usable(), folder)
    report = {"schema": 1, "source": asdict(source), "pinned": source.kind == "file" or source.revision is not None}
    report |= {"demonstrations": len(corpus)} | dict(counts) | {"rejects": dict(sorted(rejects.items()))}
    write_atomic(folder / "source.json", json.dumps(report, indent=1) + "\n")
    if rejects.total() > source.max_reject_share * counts["rows"] or rejects.total() == counts["rows"]:
        raise ValueError(_too_many_rejects(source, counts["rows"], rejects, first, folder))
    return corpus


def _too_many_rejects(source: Source, rows: int, rejects: Counter[str], first: list[str], folder: Path) -> str:
    reasons = ", ".join(f"{reason} {n}" for reason, n in rejects.most_common()) or "it is empty"
    return (
        f"{_where(source)}: {rejects.total()} of {rows} rows cannot be used ({reasons}), more than "
        f"data.max_reject_share={source.max_reject_share:g} allows; each is listed in {folder / 'rejects.jsonl'}"
        f"{''.join(first)}"
    )


def _where(source: Source) -> str:
    return str(source.path or f"{source.hub_id}@{source.revision or 'main'}")


def _results(source: Source) -> Iterator[tuple[int, Demonstration | RejectedError]]:
    segment = _segmenter(source)
    seen: set[str] = set()
    origin = source.hub_id or Path(source.path or "").name
    kept = 0
    for number, row in read_rows(source.path, source.hub_id, source.revision, source.split):
        if kept == source.max_demonstrations:
            return
        try:
            columns = (source.format, source.answer_column, source.correct_column)
            one = read_row(row, f"{origin}#{number}", segment, *columns)
            if one.id in seen:
                raise RejectedError("duplicate", f"the same prompt and response as an earlier row: id {one.id}")
        except RejectedError as error:
            yield number, error
            continue
        seen.add(one.id)
        kept += 1
        yield number, one


def _segmenter(source: Source) -> Segmenter:
    if source.segmenter != "llm":
        segment = SEGMENTERS[source.segmenter]
        return lambda thought, _: segment(thought)
    answers = read_answers(Path(str(source.llm_answers)))
    return lambda thought, identity: steps_of_answer(thought, identity, answers)
