"""Child processes: everything that needs torch or vLLM runs in one, and its memory is freed by its exit.

A child sees only the environment variables of an allow-list, shows its output on the terminal and in a log file, and
ends with its parent however that ends, including whatever it started itself (guard.py says how).
"""

from __future__ import annotations

import codecs
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sweeps import guard
from sweeps.record import RunFailed

PASSED_ON = re.compile(
    r"HOME|LANG|LANGUAGE|LD_LIBRARY_PATH|LOGNAME|PATH|PYTHONPATH|TERM|TMPDIR|TOKENIZERS_PARALLELISM|TZ|USER|VIRTUAL_ENV"
    r"|(?i:all|http|https|no)_(?i:proxy)|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|SSL_CERT_(DIR|FILE)"
    r"|(CUBLAS|CUDA|GLOO|HF|HIP|HSA|KMP|LC|MKL|NCCL|NVIDIA|OMP|OPENBLAS|PYTORCH|ROCR|TORCH|TRACKIO|TRANSFORMERS|TRITON"
    r"|VLLM|WANDB|XDG)_.*"
)
"""Names of the variables a child gets. Not among them: RANK, WORLD_SIZE, MASTER_ADDR, LOCAL_RANK, TORCHELASTIC_*,
ACCELERATE_* of a launcher above us, which would make the child join somebody else's process group."""

_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 12


class ChildFailed(RunFailed):
    """A child process ended with an error; `str()` is a message for the user."""

    def __init__(self, argv: Sequence[str], status: int, log: Path, tail: str) -> None:
        """Keep what is known.

        Args:
            argv: The command.
            status: Its exit status, 128 + n for signal n; negative if the guard itself was killed.
            log: Where all of its output is.
            tail: The end of its output.
        """
        super().__init__(argv, status, log, tail)
        self.argv, self.status, self.log, self.tail = argv, status, log, tail

    def __str__(self) -> str:
        """Command, exit status, log and reason."""
        lines = [line for line in self.tail.replace("\r", "\n").splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error:")]
        shown = errors[-1:] or lines[-_TAIL_LINES:] or ["(no output)"]
        killed = "SIGKILL" in self._ending() or "Signals.SIGKILL" in self.tail
        hint = "\n  hint: SIGKILL often means out of memory: try a smaller batch or a shorter length" if killed else ""
        return (
            f"child process failed: {self._ending()}\n  command: {shlex.join(self.argv)}\n  log: {self.log}{hint}\n  "
            + "\n  ".join(shown)
        )

    def _ending(self) -> str:
        number = self.status - 128 if self.status > 128 else -self.status
        names = {item.value: item.name for item in signal.Signals}
        return f"killed by {names[number]}" if number in names else f"exit status {self.status}"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; ends a run in good order, as Ctrl-C does."""


def run_child(
    argv: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    grace: float = 20.0,
    echo: bool = True,
) -> float:
    """Run a command to its end and return how long it took, in seconds.

    Args:
        argv: The command; nothing goes through a shell.
        log: File its stdout and stderr are appended to.
        env: Variables set for the child beyond the allow-list.
        cwd: Its working directory.
        grace: Seconds between passing on SIGINT or SIGTERM and SIGKILL.
        echo: Whether its output also goes to our stderr as it comes.

    Raises:
        ChildFailed: If it cannot be started or its exit status is not 0.
        KeyboardInterrupt: On Ctrl-C or SIGTERM (`Terminated`), after the child ended; a second one does not wait.
        OSError: If the log cannot be written; the child is then killed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with sigterm_as_interrupt(), log.open("ab", buffering=0) as file:
        tee = _Tee(file, echo)
        tee.note(f"$ {shlex.join(argv)}\n".encode("utf-8", "surrogateescape"))
        status = _Child(argv, child_environment(env or {}), cwd, grace).run(tee)
    if status:
        raise ChildFailed(list(argv), status, log, bytes(tee.tail).decode("utf-8", "replace"))
    return time.monotonic() - started


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: our variables of the allow-list, unbuffered Python output, and `extra`."""
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    return passed | {"PYTHONUNBUFFERED": "1"} | dict(extra)


@contextmanager
def sigterm_as_interrupt() -> Generator[None, None, None]:
    """Let SIGTERM raise `Terminated` in the main thread, unless a cluster's launcher handles it already."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def require_free_disk(folder: Path, needed: int) -> None:
    """Refuse to start what cannot be stored.

    Args:
        folder: Where it will be written; need not exist yet.
        needed: Bytes.

    Raises:
        OSError: If less is free.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OSError(
            f"{folder}: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free; make room and start again"
        )


class _Child:
    """A command under its guard."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str], cwd: Path | None, grace: float) -> None:
        self._token = uuid.uuid4().hex
        read_end, self._control = os.pipe()
        shim = [sys.executable, "-I", "-S", guard.__file__, str(read_end), self._token, str(grace)]
        self._process = subprocess.Popen(
            [*shim, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment | {guard.TOKEN_NAME: self._token},
            cwd=cwd,
            start_new_session=True,  # Ctrl-C on the terminal reaches us alone, who pass it on
            pass_fds=(read_end,),
        )
        os.close(read_end)

    def run(self, tee: _Tee) -> int:
        """Wait for the end, passing output and signals on; returns the exit status."""
        try:
            self._pump(tee)
        except KeyboardInterrupt as interrupt:
            number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
            with suppress(BrokenPipeError):  # it just ended by itself
                os.write(self._control, bytes([number]))
            self._pump(tee)
            raise
        finally:
            os.close(self._control)  # whatever still runs is killed now
            status = self._process.wait()
            if status < 0:  # somebody killed the guard: do its work
                guard.kill_all(self._process.pid, self._token)
        return status

    def _pump(self, tee: _Tee) -> None:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while True:
            # The timeout lets us see that the guard was killed while its command holds the pipe open.
            if not select.select([output], [], [], 0.5)[0]:
                if self._process.poll() is not None:
                    return
            elif chunk := os.read(output, 65536):
                tee.write(chunk)
            else:
                return


class _Tee:
    """Output to the log, to the terminal and into memory, as far as an error message needs it."""

    def __init__(self, log: FileIO, echo: bool) -> None:
        self.tail = bytearray()
        self._log = log
        self._echo = echo
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def note(self, chunk: bytes) -> None:
        """Write to the log only."""
        try:
            while chunk:  # a nearly full disk takes a part
                chunk = chunk[self._log.write(chunk) :]
        except OSError as error:
            raise OSError(error.errno, f"cannot write {os.fsdecode(self._log.name)}: {error.strerror}") from error

    def write(self, chunk: bytes) -> None:
        self.tail = (self.tail + chunk)[-_TAIL_BYTES:]
        self.note(chunk)
        if self._echo:
            sys.stderr.write(self._decoder.decode(chunk))
            sys.stderr.flush()


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated("SIGTERM")
