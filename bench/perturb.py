"""How fast a corpus goes through the perturbations, with the memory it takes and a plain loop beside it.

    python -m bench.perturb ../shared/data/demonstrations/sky_t1_format.jsonl.gz --rows 17000 --workers 2

The given rows are repeated under fresh problems until there are `--rows` of them; reading and writing are timed too.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from perturbations.apply import perturb, write_corpus
from perturbations.base import Draw, Perturbation
from perturbations.corpus import StoredCorpus
from perturbations.delete import Delete
from perturbations.digits import Digits, corrupt_digits
from perturbations.insert import Insert
from perturbations.keywords import Keywords
from perturbations.shuffle import Shuffle
from perturbations.sources import Source, prepare
from perturbations.wrong_answers import WrongTraces

Result = TypeVar("Result")

PAPER: tuple[Perturbation, ...] = (
    WrongTraces(),
    Digits(0.5),
    Keywords(1.0),
    Shuffle(0.67),
    Delete(0.67),
    Insert(0.67),
)


def main() -> None:
    """Prints one row per step: seconds, processor seconds, speed, and the peak memory so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="demonstrations, .jsonl.gz")
    parser.add_argument("--rows", type=int, default=17_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-loop", action="store_true", help="leave the plain loop out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        _measure(options.path, options.rows, options.workers, not options.no_loop, Path(name))


def _measure(path: Path, rows: int, workers: int, loop: bool, folder: Path) -> None:
    file = folder / "repeated.jsonl"
    size = _repeat(path, rows, file)
    print(f"{rows} rows, {size / 1e6:.0f} MB of responses, {workers} workers, peak memory in MB")
    print(f"{'':32}{'seconds':>8}{'cpu s':>8}{'MB/cpu s':>8}{'parent':>8}{'worker':>8}")
    source = Source(name="bench", kind="file", path=str(file))
    corpus, cost = _timed(lambda: prepare(source, folder / "corpus"))
    _line("prepare (once)", cost, size)
    costs = [cost]
    for perturbation in PAPER:
        arm = folder / perturbation.label
        _, cost = _timed(lambda p=perturbation, out=arm: write_corpus(corpus, p, 0, out, workers=workers))
        _line(perturbation.label, cost, size)
        costs.append(cost)
    _line("all of it", Cost(sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs)), size)
    if loop:
        _compare(corpus, file, folder, size)


def _compare(corpus: StoredCorpus, file: Path, folder: Path, size: int) -> None:
    some = corpus[: min(1000, len(corpus))]
    text = sum(len(one.response) for one in some)
    _, ours = _timed(lambda: [perturb(one, Digits(0.5), 0) for one in some])
    _, plain = _timed(lambda: [_plain_digits(one.response) for one in some])
    _, kernel = _timed(lambda: [corrupt_digits(one.response, 0.5, Draw(0, one.id, "digits")) for one in some])
    _line("digits, text to text", kernel, text)
    _line("digits, steps to steps", ours, text)
    _line("regex callback, text to text", plain, text)
    print(f"{'ratio, text to text':32}{plain.cpu / kernel.cpu:16.1f}")
    _, cost = _timed(lambda: _plain_loop(file, folder / "plain.jsonl"))
    _line("plain loop, reading and writing", cost, size)


def _repeat(path: Path, rows: int, out: Path) -> int:
    """All rows count as right; every tenth is there once more as a wrong trace of the same problem."""
    size = 0
    with out.open("w", encoding="utf-8") as file:
        for number, row in enumerate(islice(cycle(_rows(path)), rows)):
            user, assistant = row["conversations"]
            fresh = {"from": "user", "value": f"{user['value']} ({number})"}
            size += len(assistant["value"])
            file.write(_line_of([fresh, assistant], True))
            if number % 10 == 0:
                wrong = {"from": "assistant", "value": assistant["value"] + " "}
                file.write(_line_of([fresh, wrong], False))
    return size


def _line_of(turns: list[dict[str, str]], correct: bool) -> str:
    return json.dumps({"conversations": turns, "correct": correct}, ensure_ascii=False) + "\n"


def _rows(path: Path) -> Iterator[dict[str, list[dict[str, str]]]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _plain_digits(text: str) -> str:
    return re.sub(r"\d", lambda match: str(random.randint(0, 9)) if random.random() < 0.5 else match.group(), text)


def _plain_loop(path: Path, out: Path) -> None:
    with path.open(encoding="utf-8") as rows, out.open("w", encoding="utf-8") as file:
        for line in rows:
            row = json.loads(line)
            row["conversations"][1]["value"] = _plain_digits(row["conversations"][1]["value"])
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


class Cost(NamedTuple):
    """Seconds on the clock, and of processors, all processes together."""

    wall: float
    cpu: float


def _timed(work: Callable[[], Result]) -> tuple[Result, Cost]:
    start, before = time.perf_counter(), _cpu()
    result = work()
    return result, Cost(time.perf_counter() - start, _cpu() - before)


def _cpu() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _line(what: str, cost: Cost, size: int) -> None:
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    speed = size / 1e6 / cost.cpu
    print(f"{what:32}{cost.wall:8.2f}{cost.cpu:8.2f}{speed:8.1f}{peaks[0]:8.0f}{peaks[1]:8.0f}", flush=True)


if __name__ == "__main__":
    main()
