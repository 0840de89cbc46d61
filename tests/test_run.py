"""`python run.py` as a person runs it: real training, real generation, real errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TINY = ["data.demonstrations=16", "train.max_steps=2", "evaluate.limit=8", "evaluate.sampling.max_new_tokens=40"]


def command(folder: Path, *overrides: str) -> list[str]:
    own = [f"store={folder / 'store'}", f"hydra.run.dir={folder / 'run'}"]
    return [sys.executable, "run.py", *TINY, *own, *overrides]


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *overrides), cwd=ROOT, capture_output=True, text=True, timeout=300)


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "record.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    done = run(folder, "perturbation=shuffle_67")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_real_run_trains_generates_and_scores(finished: Path):
    made = record(finished)
    assert (made["status"], made["arm"]) == ("complete", "shuffle_67")
    assert made["stages"]["train"]["metrics"]["steps"] == 2
    assert made["metrics"]["benchmarks"]["organism"]["problems"] == 8
    assert (Path(made["stages"]["train"]["path"]) / "adapter" / "adapter_model.safetensors").exists()
    assert made["provenance"]["packages"]["trl"]


def test_a_second_run_finds_everything_and_starts_no_child(finished: Path):
    started = time.monotonic()
    again = run(finished, "perturbation=shuffle_67")
    assert again.returncode == 0
    assert again.stdout.count("cached") == 6
    assert all(stage["cached"] for stage in record(finished)["stages"].values())
    assert time.monotonic() - started < 20  # seconds; measured properly in bench/


def test_another_arm_shares_what_it_can(finished: Path):
    planned = run(finished, "perturbation=none", "dry_run=true")
    states = dict(line.split()[:2] for line in planned.stdout.splitlines() if line.startswith("  "))
    assert states == {"demonstrations": "cached", "perturb": "cached", "train": "to", "generate": "to", "score": "to"}


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["train.learning_rat=1"], "learning_rat"),
        (["perturbation=shufle"], "shufle"),
        (["perturbation=shuffle", "perturbation.fraction=1.5"], "perturbation.fraction=1.5"),
        (["model.path=/nowhere"], "model.path=/nowhere"),
        (["+train.extra.adam_beta3=1"], "train.extra.adam_beta3"),
    ],
)
def test_bad_input_is_one_message_and_a_failure(tmp_path: Path, overrides: list[str], named: str):
    failed = run(tmp_path, *overrides)
    assert failed.returncode != 0
    assert named in failed.stderr
    assert 'File "' + str(ROOT) not in failed.stderr  # no traceback of ours


def test_a_value_that_must_be_given_is_named(tmp_path: Path):
    missing = [sys.executable, "run.py", "data=file", f"store={tmp_path}", f"hydra.run.dir={tmp_path}"]
    failed = subprocess.run(missing, cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 2 and "data.path" in failed.stderr and "Traceback" not in failed.stderr


def test_killed_in_training_it_leaves_no_child_and_goes_on_from_the_last_finished_stage(tmp_path: Path):
    with subprocess.Popen(command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        _wait_for(lambda: list(tmp_path.glob("store/train/*.partial/log.txt")))
        time.sleep(1)
        process.kill()
    _wait_for(lambda: not _processes_naming(str(tmp_path)))
    assert record(tmp_path)["status"] == "running"  # nobody was left to say otherwise
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("cached") == 2 and "train           to resume" in again.stdout
    assert record(tmp_path)["status"] == "complete"


def test_ctrl_c_is_said_and_recorded(tmp_path: Path):
    with subprocess.Popen(command(tmp_path), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        _wait_for(lambda: list(tmp_path.glob("store/train/*.partial/log.txt")))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in stderr
    assert record(tmp_path)["status"] == "interrupted"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_message_and_a_failure(tmp_path: Path, small_disk: Path):
    failed = run(tmp_path, f"store={small_disk}", "data.demonstrations=400")
    assert failed.returncode != 0
    assert "No space left on device" in failed.stderr
    assert 'File "' + str(ROOT) not in failed.stderr
    assert record(tmp_path)["status"] == "failed"


def _wait_for(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


def _processes_naming(text: str) -> list[str]:
    found: list[str] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if text.encode() in words and int(folder.name) != os.getpid():
            found.append(folder.name)
    return found
