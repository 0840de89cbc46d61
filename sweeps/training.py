"""The work of the train stage: the worker's spec, the accelerate command, and starting it."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from sweeps.atomic import write_text
from sweeps.experiment import Experiment
from sweeps.launch import run_child
from train.spec import TrainSpec

ROOT = Path(__file__).resolve().parent.parent
SPEC = "spec.json"
CHILD_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""CPU threads that spin while they wait make training many times slower on a machine that does anything else."""


def train_spec(experiment: Experiment, corpus: Path, baseline: Path, out: Path) -> TrainSpec:
    """The work order for the train worker; ``corpus`` and ``baseline`` are folders of perturbed corpora."""
    model, compute = experiment.model, experiment.compute
    return TrainSpec(
        model=model.location,
        base_name=model.hub_id or model.name,
        corpus=str(corpus / "corpus.parquet"),
        baseline=str(baseline / "corpus.parquet"),
        recipe=experiment.train,
        split=experiment.split,
        seed=experiment.seed,
        out=str(out),
        revision=model.revision,
        dtype=model.dtype,
        trust_remote_code=model.trust_remote_code,
        eos_token=model.eos_token,
        gradient_checkpointing=compute.gradient_checkpointing,
        checkpoint_every=compute.checkpoint_every,
    )


def train_command(experiment: Experiment, spec: Path) -> list[str]:
    """The command that trains, as it is started and as `dry_run` shows it."""
    compute = experiment.compute
    return [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(ROOT / "conf" / "accelerate" / f"{compute.accelerate}.yaml")),
        *("--num_processes", str(compute.processes)),
        *("--num_cpu_threads_per_process", str(compute.threads_per_process)),
        *("-m", "train.worker", str(spec)),
    ]


def check(experiment: Experiment, folder: Path) -> None:
    """Ask TRL and PEFT, in a child process, whether they accept the recipe; seconds, before hours are spent.

    Raises:
        sweeps.launch.ChildFailed: they do not; the message names the field.
    """
    spec = train_spec(experiment, folder, folder, folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / SPEC, json.dumps(dataclasses.asdict(spec), indent=1) + "\n")
    run_child([sys.executable, "-m", "train.worker", "--check", str(folder / SPEC)], folder / "check.log", cwd=ROOT)


def train(experiment: Experiment, corpus: Path, baseline: Path, out: Path) -> None:
    """Fine-tune the arm in a child process; fills ``out``."""
    spec = train_spec(experiment, corpus, baseline, out)
    write_text(out / SPEC, json.dumps(dataclasses.asdict(spec), indent=1) + "\n")
    # A bar that is redrawn where nobody watches fills the log.
    pace = {"TQDM_MININTERVAL": "0.5" if sys.stderr.isatty() else "15"}
    run_child(train_command(experiment, out / SPEC), out / "log.txt", CHILD_ENVIRONMENT | pace, cwd=ROOT)
