"""A pool of killable processes that compare answers with Math-Verify (`evaluate.verify_worker`)."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, cast

WALL_SECONDS = 30.0
"""A backstop for a worker that waits without computing; its CPU time is limited in the worker."""
START_SECONDS = 120.0


class Pair(NamedTuple):
    """A gold answer and an answer to compare with it; None only tries the gold."""

    gold: str
    answer: str | None


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[str]
    task: int | None = None
    deadline: float = field(default=0.0)

    @property
    def replies(self) -> IO[str]:
        return cast("IO[str]", self.process.stdout)


def verify_pairs(pairs: Sequence[Pair], workers: int = 2) -> list[bool | None]:
    """Compare every pair.

    Args:
        pairs: what to compare; sizes have been limited before (`evaluate.answers.within_limits`).
        workers: processes at once.

    Returns:
        For each pair whether they are equal, None if comparing them took too much time or memory.

    Raises:
        OSError: the worker cannot be started, for example because math-verify is not installed.
    """
    results: list[bool | None] = [None] * len(pairs)
    todo = iter(range(len(pairs)))
    pool = [_start() for _ in range(min(max(workers, 1), len(pairs)))]
    try:
        for worker in pool:
            _greet(worker)
        busy = {worker for worker in pool if _send(worker, pairs, next(todo, None))}
        while busy:
            for worker in _ready(busy):
                index = cast(int, worker.task)
                line = worker.replies.readline() if time.monotonic() < worker.deadline else ""
                if line:
                    results[index] = json.loads(line)
                else:
                    _end(worker)
                following = next(todo, None)
                if not line and following is not None:
                    worker.process = _start().process
                    _greet(worker)
                if not _send(worker, pairs, following):
                    busy.discard(worker)
    finally:
        for worker in pool:
            _end(worker)
    return results


def _start() -> _Worker:
    command = [sys.executable, "-m", "evaluate.verify_worker"]
    root = Path(__file__).resolve().parents[1]
    return _Worker(
        subprocess.Popen(
            command, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    )


def _greet(worker: _Worker) -> None:
    """Wait until a worker has loaded its libraries, so that loading does not count as work."""
    worker.deadline = time.monotonic() + START_SECONDS
    _ready({worker})
    if worker.replies.readline() != "ready\n":
        raise OSError(
            f"the answer checker does not start; see {sys.executable} -m evaluate.verify_worker "
            "(math-verify[antlr4_9_3] must be installed)"
        )


def _send(worker: _Worker, pairs: Sequence[Pair], index: int | None) -> bool:
    if index is None:
        return False
    worker.task, worker.deadline = index, time.monotonic() + WALL_SECONDS
    task = {"gold": pairs[index].gold, "answer": pairs[index].answer}
    stdin = cast("IO[str]", worker.process.stdin)
    stdin.write(json.dumps(task) + "\n")
    stdin.flush()
    return True


def _ready(workers: set[_Worker]) -> list[_Worker]:
    """Workers that have replied, ended, or passed their deadline."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.replies, selectors.EVENT_READ, worker)
        wait = min(worker.deadline for worker in workers) - time.monotonic()
        ready = [cast(_Worker, key.data) for key, _ in selector.select(max(wait, 0))]
    return ready or [worker for worker in workers if time.monotonic() >= worker.deadline]


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.communicate()
