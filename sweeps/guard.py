"""The process between a run and its child: sees to it that nothing of the child outlives either.

Started by launch.py as `python -I -S guard.py CONTROL TOKEN GRACE COMMAND...`, with the standard library only.
`accelerate launch` starts processes of its own, so neither "die with your parent" (PR_SET_PDEATHSIG reaches children,
not grandchildren) nor killing one process is enough. The guard reads a pipe whose other end only the run holds:

- a byte is a signal number: send it to everything below, and SIGKILL what is left after GRACE seconds;
- end of file, which is also what the kernel delivers when the run is SIGKILLed: SIGKILL everything below at once.

"Everything below" is found in /proc: members of the guard's session, their descendants, and whoever carries TOKEN in
its environment (some launchers put workers into sessions of their own; some programs overwrite their environment).
Where there is no /proc, it is the command's process group. When the command ends, stragglers are killed too, and the
guard exits with the command's status: 128 + n if signal n ended it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

TOKEN_NAME = "SWEEPS_GUARD"


def members(session: int, token: str) -> set[int]:
    """Ids of the living processes below a guard, without the guard itself (whose id is that of its session)."""
    marker = f"{TOKEN_NAME}={token}".encode()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal()):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent, _, its_session = file.read().rpartition(b")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
        if state in b"ZX":
            continue
        parents[pid] = int(parent)
        if int(its_session) == session or _carries(pid, marker):
            found.add(pid)
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= below
    return found - {session, os.getpid()}


def _carries(pid: int, marker: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return marker in file.read().split(b"\0")
    except OSError:
        return False  # ended while we looked, or another user's


def send(number: int, session: int, token: str, group: int = 0) -> bool:
    """Send a signal to everything below a guard; False if nothing is left there."""
    if not os.path.exists("/proc/self/environ"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group or session, number)
        return False  # no way to see who is left
    targets = members(session, token)
    for pid in targets:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return bool(targets)


def kill_all(session: int, token: str, group: int = 0) -> None:
    """SIGKILL everything below a guard, also what it starts while being killed."""
    while send(signal.SIGKILL, session, token, group):
        time.sleep(0.005)


def _obey(control: int, token: str, grace: float, group: int, parent: int) -> None:
    """Do what the control pipe says until the run closes it or is gone."""
    # The parent is watched as well: a process it forked may hold the other end of the pipe open after its death.
    while os.getppid() == parent:
        if not select.select([control], [], [], 1.0)[0]:
            continue
        byte = os.read(control, 1)
        if not byte:
            break
        send(byte[0], os.getpid(), token, group)
        threading.Timer(grace, kill_all, (os.getpid(), token, group)).start()
    kill_all(os.getpid(), token, group)


def _stay(number: int, frame: FrameType | None) -> None:
    """Ignore a signal: the run decides when the guard ends."""


def main(control: int, token: str, grace: float, command: list[str]) -> int:
    """Run a command under guard and return its exit status."""
    parent = os.getppid()
    os.set_inheritable(control, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stay)  # not SIG_IGN, which the command would inherit
    try:
        process = subprocess.Popen(command, process_group=0)
    except OSError as error:
        print(f"error: cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    threading.Thread(target=_obey, args=(control, token, grace, process.pid, parent), daemon=True).start()
    status = process.wait()
    kill_all(os.getpid(), token, process.pid)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    # Not sys.exit: it would wait for a timer that still has somebody to kill.
    os._exit(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
