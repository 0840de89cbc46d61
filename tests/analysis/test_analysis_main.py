"""The command line, from files to files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis.__main__ import main

ROOT = Path(__file__).parents[2]


def test_runs_to_tables_and_figures(golden_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(golden_store), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "shuffle_67" in printed
    assert "incomplete" in printed
    written = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {f"{name}.{ending}" for name in ("delta", "behaviour", "results") for ending in ("csv", "md", "tex")}
    drawn = {f"{name}.{ending}" for name in ("forest", "length", "problems") for ending in ("png", "svg", "pdf")}
    assert written == tables | drawn | {"report.html"}
    frame = pd.read_csv(tmp_path / "out" / "delta.csv").set_index("arm")
    assert frame.loc["shuffle_67", "delta"] == -60
    assert pd.isna(frame.loc["delete_100", "delta"])


def test_the_same_input_gives_the_same_bytes(golden_store: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        main([str(golden_store), "--out", str(tmp_path / name)])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_a_file_of_scores(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "arm": ["none"] * 4 + ["x"] * 4,
            "benchmark": "b",
            "problem": list("abcd") * 2,
            "correct": [1, 1, 1, 0, 0, 1, 0, 0],
        }
    )
    frame.assign(model="m", sample=0).to_csv(tmp_path / "scores.csv", index=False)
    assert main(["--scores", str(tmp_path / "scores.csv"), "--baseline", "none", "--out", str(tmp_path / "out")]) == 0
    assert pd.read_csv(tmp_path / "out" / "delta.csv").set_index("arm").loc["x", "delta"] == -50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scores", "absent.csv"], "absent.csv: no such file"),
        (["absent"], "absent: no such file or folder"),
        (["{runs}", "--baseline", "intact"], "there is no arm intact"),
        (["{runs}", "--out", "{runs}/none-0/record.json"], "record.json"),
    ],
)
def test_errors_are_one_line(
    golden_store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([argument.format(runs=golden_store) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_neither_torch_nor_hydra_nor_matplotlib_is_imported_before_it_is_needed() -> None:
    code = "import sys, analysis.__main__; print([m for m in ('torch', 'hydra', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
