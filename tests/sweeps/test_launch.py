"""Child processes: what they see, what is kept of them, and that nothing of them outlives us."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.launch import ChildFailed, Terminated, child_environment, require_free_disk, run_child

REPOSITORY = Path(__file__).parents[2]


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _fail(code: str, log: Path) -> str:
    with pytest.raises(ChildFailed) as caught:
        run_child(_python(code), log, echo=False)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return str(caught.value)


def test_output_goes_to_the_log_and_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "train.log"
    code = r"import sys; print('10 %', end='\r'); print('100 % é'); print('warn', file=sys.stderr)"
    seconds = run_child(_python(code), log)
    assert 0 < seconds < 10
    assert capsys.readouterr().err == "10 %\r100 % é\nwarn\n"
    assert log.read_text().startswith("$ ") and log.read_bytes().endswith(b"\n10 %\r100 % \xc3\xa9\nwarn\n")
    run_child(_python("print('again')"), log, echo=False)
    assert capsys.readouterr().err == "" and log.read_text().endswith("\nagain\n") and "100 %" in log.read_text()


def test_output_appears_while_the_child_works(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path; from sweeps.launch import run_child; import sys
run_child([sys.executable, "-c", "import time; print('epoch 1'); time.sleep(60)"], Path({str(tmp_path / "log")!r}))"""
    with subprocess.Popen(_python(code), cwd=REPOSITORY, stderr=subprocess.PIPE) as parent:
        assert parent.stderr is not None and parent.stderr.readline() == b"epoch 1\n"
        parent.kill()


def test_a_launchers_variables_do_not_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaking = "RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID ACCELERATE_USE_CPU MY_SECRET"
    for name in leaking.split():
        monkeypatch.setenv(name, "leaked")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("https_proxy", "proxy:1")
    code = "import os; print(*(f'{k}={v}' for k, v in sorted(os.environ.items())), sep='\\n')"
    run_child(_python(code), tmp_path / "log", {"OMP_NUM_THREADS": "2"}, echo=False)
    seen = (tmp_path / "log").read_text().splitlines()
    assert "leaked" not in (tmp_path / "log").read_text()
    assert {"CUDA_VISIBLE_DEVICES=3", "HF_HOME=/models", "https_proxy=proxy:1", "OMP_NUM_THREADS=2"} <= set(seen)
    assert {"PATH", "HOME"} & os.environ.keys() <= child_environment({}).keys()


def test_working_directory_and_input(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), repr(sys.stdin.read()))"
    run_child(_python(code), tmp_path / "log", cwd=tmp_path, echo=False)
    assert (tmp_path / "log").read_text().endswith(f"\n{tmp_path} ''\n")


def test_the_message_of_a_failed_child(tmp_path: Path) -> None:
    message = _fail("print('loading'); print('step 1\\rstep 2'); raise SystemExit(3)", tmp_path / "log")
    assert message.startswith("child process failed: exit status 3\n  command: ")
    assert f"\n  log: {tmp_path / 'log'}\n  loading\n  step 1\n  step 2" in message
    assert "hint" not in message


def test_the_message_prefers_the_childs_own_error(tmp_path: Path) -> None:
    code = "print('noise'); print('error: rank 7 is too big'); print('Traceback by the launcher'); raise SystemExit(1)"
    message = _fail(code, tmp_path / "log")
    assert message.endswith(f"log: {tmp_path / 'log'}\n  error: rank 7 is too big")


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.kill(os.getpid(), 9)",
        # what a launcher says whose worker was killed
        'print("died with <Signals.SIGKILL: 9>."); raise SystemExit(1)',
    ],
)
def test_a_killed_child_hints_at_memory(tmp_path: Path, code: str) -> None:
    assert "hint: SIGKILL often means out of memory" in _fail(code, tmp_path / "log")


def test_other_signals_are_named(tmp_path: Path) -> None:
    message = _fail("import os; os.kill(os.getpid(), 11)", tmp_path / "log")
    assert "killed by SIGSEGV" in message and "hint" not in message and "(no output)" in message


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match="error: cannot start /no/such: No such file"):
        run_child(["/no/such", "--flag"], tmp_path / "log", echo=False)


# A child like `accelerate launch`: starts a worker and waits. The worker reports its pid through a file. A detached one
# can be found neither by its session nor by its environment.
WORKER = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(100)"
CHILD = """
import os, signal, subprocess, sys
open(sys.argv[1] + ".child", "w").write(str(os.getpid()))
{setup}
hidden = dict(start_new_session=True, env={{}}) if {detached} else dict()
subprocess.run([sys.executable, "-c", {worker!r}, sys.argv[1] + ".worker"], **hidden)
"""
PARENT = """
import signal, sys
from pathlib import Path
from sweeps.launch import run_child
signal.signal(signal.SIGINT, signal.default_int_handler)  # in case the tests run in the background
{beside}
try:
    run_child([sys.executable, "-c", {child!r}, {stem!r}], Path({stem!r} + ".log"), echo=False, grace={grace})
except KeyboardInterrupt as interrupt:
    print(type(interrupt).__name__, flush=True)
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def _start(
    tmp_path: Path, *, detached: bool = False, setup: str = "", beside: str = "", grace: float = 20.0
) -> tuple[subprocess.Popen[str], list[int]]:
    """A parent with child and worker, all running; returns the parent and the ids of the other two."""
    stem = str(tmp_path / "run")
    child = CHILD.format(worker=WORKER, detached=detached, setup=setup)
    code = PARENT.format(child=child, stem=stem, beside=beside, grace=grace)
    parent = subprocess.Popen(_python(code), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    files = [Path(stem + ".child"), Path(stem + ".worker")]
    _wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    return parent, [int(file.read_text()) for file in files]


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated")])
def test_an_interrupt_ends_grandchildren(tmp_path: Path, detached: bool, number: int, name: str) -> None:
    parent, pids = _start(tmp_path, detached=detached)
    parent.send_signal(number)
    assert parent.communicate(timeout=10)[0] == f"{name}\n"
    assert not any(map(_alive, pids))


@pytest.mark.parametrize("detached", [False, True])
def test_sigkill_of_the_parent_ends_grandchildren(tmp_path: Path, detached: bool) -> None:
    parent, pids = _start(tmp_path, detached=detached)
    assert all(map(_alive, pids))
    parent.kill()
    parent.communicate()
    _wait_for(lambda: not any(map(_alive, pids)), seconds=3.0)


def test_a_pipe_held_open_by_a_fork_does_not_keep_the_child(tmp_path: Path) -> None:
    fork = "import os, threading, time; threading.Timer(0.1, lambda: os.fork() or (time.sleep(4), os._exit(0))).start()"
    parent, pids = _start(tmp_path, beside=fork)
    time.sleep(0.3)
    parent.kill()
    parent.wait()
    _wait_for(lambda: not any(map(_alive, pids)), seconds=3.0)


def test_the_signal_is_the_one_received(tmp_path: Path) -> None:
    parent, _ = _start(
        tmp_path, setup="signal.signal(signal.SIGTERM, lambda *_: (print('TERM', flush=True), os._exit(0)))"
    )
    parent.terminate()
    parent.communicate(timeout=10)
    assert (tmp_path / "run.log").read_text().endswith("\nTERM\n")


STUBBORN = "signal.signal(signal.SIGINT, signal.SIG_IGN)"


def test_who_ignores_an_interrupt_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    parent, pids = _start(tmp_path, setup=STUBBORN, grace=0.5)
    started = time.monotonic()
    parent.send_signal(signal.SIGINT)
    assert parent.communicate(timeout=10)[0] == "KeyboardInterrupt\n"
    assert 0.4 < time.monotonic() - started < 5 and not any(map(_alive, pids))


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    parent, pids = _start(tmp_path, setup=STUBBORN, grace=60)
    parent.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert all(map(_alive, pids))
    parent.send_signal(signal.SIGINT)
    assert parent.communicate(timeout=10)[0] == "KeyboardInterrupt\n"
    assert not any(map(_alive, pids))


def test_the_guard_outlives_sigterm_and_its_sigkill_ends_grandchildren(tmp_path: Path) -> None:
    parent, pids = _start(tmp_path)
    guard = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGTERM)  # as a cluster does to every process of a job
    time.sleep(0.2)
    assert parent.poll() is None and all(map(_alive, pids))
    os.kill(guard, signal.SIGKILL)
    parent.communicate(timeout=10)
    assert parent.returncode == 1 and not any(map(_alive, pids))


@pytest.mark.parametrize("hiding", ["start_new_session=True", "env={}"])
def test_what_a_finished_child_leaves_running_is_ended(tmp_path: Path, hiding: str) -> None:
    pid_file = str(tmp_path / "worker")
    code = f"""
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {WORKER!r}, {pid_file!r}], {hiding})
while not os.path.exists({pid_file!r}) or not open({pid_file!r}).read(): time.sleep(0.01)"""
    run_child(_python(code), tmp_path / "log", echo=False)
    assert not _alive(int(Path(pid_file).read_text()))


def test_an_unwritable_log_is_an_error_and_ends_the_child(tmp_path: Path) -> None:
    child = "import os, time; print(os.getpid(), 'x' * 9999); time.sleep(60)"
    code = f"""
import resource, sys
from pathlib import Path
from sweeps.launch import run_child
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    run_child([sys.executable, "-c", {child!r}], Path({str(tmp_path / "log")!r}), echo=False)
except OSError as error:
    print(error)
"""
    result = subprocess.run(_python(code), cwd=REPOSITORY, capture_output=True, text=True, timeout=20)
    assert f"cannot write {tmp_path / 'log'}: File too large" in result.stdout
    assert not _alive(int((tmp_path / "log").read_text().splitlines()[1].split()[0]))


def test_sigterm_raises_only_while_a_child_runs(tmp_path: Path) -> None:
    run_child(_python(""), tmp_path / "log", echo=False)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert issubclass(Terminated, KeyboardInterrupt)


def test_too_little_disk(tmp_path: Path) -> None:
    require_free_disk(tmp_path / "not" / "yet", 1)
    with pytest.raises(OSError, match=r"not: 1000000000\.00 GB are needed, .* make room"):
        require_free_disk(tmp_path / "not", 10**18)
