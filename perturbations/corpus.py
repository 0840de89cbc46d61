"""A corpus on disk, read by row number, so that memory does not grow with the number of demonstrations."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, overload

import pyarrow as pa

from perturbations.demonstration import Demonstration
from perturbations.steps import Steps

ROWS_PER_BATCH = 32
"""Rows read at once; few, because finding one row reads its batch."""

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("problem_id", pa.string()),
        ("correct", pa.bool_()),
        ("problem", pa.string()),
        ("head", pa.string()),
        ("thought", pa.string()),
        ("cuts", pa.binary()),
        ("middle", pa.string()),
        ("solution", pa.string()),
        ("tail", pa.string()),
        ("answer", pa.string()),
        ("source", pa.string()),
        ("system", pa.string()),
    ]
)


class Key(NamedTuple):
    """What is known of a demonstration without reading its text."""

    id: str
    problem_id: str
    correct: bool | None


def keys_of(corpus: Sequence[Demonstration]) -> list[Key]:
    """The keys of a corpus in row order; of a stored one without reading its text."""
    if isinstance(corpus, StoredCorpus):
        return corpus.keys
    return [Key(one.id, one.problem_id, one.correct) for one in corpus]


def read(corpus: Sequence[Demonstration], rows: Iterable[int]) -> Iterator[Demonstration]:
    """The demonstrations of `rows`; of a stored corpus, neighbours cost one access."""
    return corpus.read(rows) if isinstance(corpus, StoredCorpus) else map(corpus.__getitem__, rows)


class StoredCorpus(Sequence[Demonstration]):
    """The demonstrations in `demonstrations.arrow`, an Arrow file; `cuts` has the ends of steps and separators in
    the thought, in characters, as 32-bit integers.

    Args:
        folder: where `store` wrote it.

    Raises:
        FileNotFoundError: there is no finished corpus in `folder`.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the file; its text is read when asked for."""
        self.folder = folder
        self._path = str(folder / "demonstrations.arrow")
        self._reader = pa.ipc.open_file(pa.OSFile(self._path))

    def __reduce__(self) -> tuple[type[StoredCorpus], tuple[Path]]:
        """Another process opens the file by itself."""
        return StoredCorpus, (self.folder,)

    @cached_property
    def keys(self) -> list[Key]:
        """Id, problem id and correctness of every row, in row order."""
        options = pa.ipc.IpcReadOptions(included_fields=[0, 1, 2])
        reader = pa.ipc.open_file(pa.OSFile(self._path), options=options)
        keys: list[Key] = []
        for number in range(reader.num_record_batches):  # all at once would hold the text too
            keys += map(Key, *(values.to_pylist() for values in reader.get_batch(number).columns))
        return keys

    def __len__(self) -> int:
        """Number of demonstrations."""
        return len(self.keys)

    @overload
    def __getitem__(self, index: int) -> Demonstration: ...
    @overload
    def __getitem__(self, index: slice) -> list[Demonstration]: ...
    def __getitem__(self, index: int | slice) -> Demonstration | list[Demonstration]:
        """Reads one demonstration, or those of a slice."""
        if isinstance(index, slice):
            return list(self.read(range(len(self))[index]))
        return next(self.read([range(len(self))[index]]))

    def __iter__(self) -> Iterator[Demonstration]:
        """Reads all demonstrations in row order, a batch at a time."""
        return self.read(range(len(self)))

    def read(self, rows: Iterable[int]) -> Iterator[Demonstration]:
        """Reads the demonstrations of `rows`; neighbours cost one access."""
        for number, group in groupby(rows, lambda row: row // ROWS_PER_BATCH):
            batch = self._reader.get_batch(number).take(pa.array([row % ROWS_PER_BATCH for row in group]))
            yield from map(_demonstration, zip(*(values.to_pylist() for values in batch.columns), strict=True))


def _record(one: Demonstration) -> tuple[Any, ...]:
    steps = Steps.of(one.steps)
    head = (one.id, one.problem_id, one.correct, one.problem, one.head, steps.thought, steps.ends.tobytes())
    return (*head, one.middle, one.solution, one.tail, one.answer, one.source, one.system)


def _demonstration(record: tuple[Any, ...]) -> Demonstration:
    identity, problem_id, correct, problem, head, thought, cuts, middle, solution, tail, answer, source, system = record
    steps = Steps.cut(thought, array("i", cuts))
    return Demonstration(
        identity, problem_id, problem, head, steps, middle, solution, tail, answer, source, correct, system
    )


def store(demonstrations: Iterable[Demonstration], folder: Path) -> StoredCorpus:
    """Writes a corpus into `folder`, where it appears complete or not at all, and opens it.

    Args:
        demonstrations: read once, a batch at a time.
        folder: created if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "demonstrations.arrow.partial"
    records = map(_record, demonstrations)
    with partial.open("wb") as file:
        with pa.ipc.new_file(file, _SCHEMA) as writer:
            while batch := list(islice(records, ROWS_PER_BATCH)):
                columns = zip(*batch, strict=True)
                arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
                writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / "demonstrations.arrow")
    return StoredCorpus(folder)


def write_atomic(path: Path, text: str) -> None:
    """Writes a text file that is either the old or the new one at any moment."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
