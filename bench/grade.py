"""Completions graded per second: ``python -m bench.grade [--workers N] [--data ../shared/data]``.

Grades the published completions as `python -m evaluate.grade` does, the start of its processes included.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import pyarrow.parquet as pq

from evaluate.grade import grade_texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    table = pq.read_table(arguments.data / "published" / "completions.parquet")
    golds = [(gold,) for gold in table["answer"].to_pylist()]
    texts = table["completion"].to_pylist()
    cut_off = [False] * len(texts)

    print(f"{len(texts)} completions, {arguments.workers} workers, load average {os.getloadavg()[0]:.1f}")
    print("grader  seconds  CPU seconds  completions/s  completions/CPU s")
    for grader in ("exact", "math"):
        cpu, started = _cpu(), time.perf_counter()
        grade_texts(golds, texts, cut_off, grader, arguments.workers)
        seconds, cpu = time.perf_counter() - started, _cpu() - cpu
        print(f"{grader:6}  {seconds:7.1f}  {cpu:11.1f}  {len(texts) / seconds:13.0f}  {len(texts) / cpu:17.0f}")


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
