"""The spread of checkpoints: by hand, and that of the outputs the paper's authors published."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.foreign import load_file
from analysis.spread import delta_table, main, spreads

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "published" / "completions.parquet"


def write(path: Path, arms: dict[str, list[int]]) -> Path:
    rows = [(arm, "aime24", number, grade) for arm, of in arms.items() for number, grade in enumerate(of)]
    pd.DataFrame(rows, columns=["arm", "benchmark", "index", "correct"]).to_csv(path, index=False)
    return path


def test_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", {"none_step9": [1, 0], "none_step10": [1, 1], "digits_50": [0, 0]})
    (found,) = spreads(load_file(path))
    assert found.accuracies == {9: 50, 10: 100}
    assert found.mean == 75
    assert found.deviation == pytest.approx(35.36, abs=0.01)
    cells = {row[0]: row for _, block in delta_table(found).blocks for row in block}
    assert cells["digits_50"][1:5] == ("−3.3", "−38.3", "−63.3 … −13.3", "0 of 2")
    assert cells["digits_50"][5].startswith("−75.0 [")
    assert cells["wrong_answers"][5] == "—"


def test_no_checkpoints_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write(tmp_path / "s.csv", {"none": [1]}))]) == 2
    assert "there are no arms none_stepN" in capsys.readouterr().err


def test_published_checkpoints(capsys: pytest.CaptureFixture[str]) -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"the published outputs are not at {PUBLISHED}")
    (found,) = spreads(load_file(PUBLISHED))
    assert (found.model, found.benchmark, len(found.accuracies)) == ("qwen2.5-32b", "aime24", 11)
    assert (min(found.accuracies.values()), max(found.accuracies.values())) == pytest.approx((80 / 3, 40))
    assert (found.mean, found.deviation) == pytest.approx((33.0, 4.3), abs=0.05)
    assert main([str(PUBLISHED)]) == 0
    assert "wrong_answers" in capsys.readouterr().out
