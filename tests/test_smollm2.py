"""A real pretrained chat model on real traces, through the very same command; as small as it can be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / ".models" / "smollm2-135m"


def test_smollm2_trains_on_real_traces_and_answers_a_real_problem(shared_data: Path, tmp_path: Path):
    subprocess.run([sys.executable, "scripts/smollm2.py", str(MODEL)], cwd=ROOT, check=True, timeout=600)
    overrides = [
        *("model=smollm2_135m", f"model.path={MODEL}"),
        *("data=file", f"data.path={shared_data / 'demonstrations' / 'sky_t1_format.jsonl.gz'}"),
        *("perturbation=shuffle_67", "train.max_steps=1", "train.batch_size=1", "train.max_length=1250"),
        *("evaluate=amc23", f"evaluate.benchmarks.amc23.path={shared_data / 'benchmarks' / 'amc23.parquet'}"),
        *("evaluate.limit=1", "evaluate.sampling.max_new_tokens=8"),
        *(f"store={tmp_path / 'store'}", f"hydra.run.dir={tmp_path / 'run'}"),
    ]
    done = subprocess.run([sys.executable, "run.py", *overrides], cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    train = record["stages"]["train"]["metrics"]
    assert train["steps"] == 1 and train["demonstrations"] > 0
    assert (
        train["demonstrations"] + train["too_long"] + train["newly_too_long"] == 321
    )  # the right ones, all accounted for
    assert record["metrics"]["benchmarks"]["amc23"]["problems"] == 1
