"""Slopes on the dose, by hand, and content against structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from analysis import delta, dose, figures
from analysis.load import load_runs

AddRun = Callable[..., Path]
Rows = Callable[..., pd.DataFrame]


@pytest.fixture
def doses(add_run: AddRun, rows: Rows) -> Path:
    def first(count: int) -> pd.DataFrame:
        return rows([1] * count + [0] * (20 - count))

    add_run("none", first(20))
    add_run("digits_50", first(19))
    add_run("digits_100", first(18))
    add_run("keywords_100", first(20))
    add_run("shuffle_50", first(12))
    return add_run("shuffle_100", first(4))


def test_slopes_by_hand(doses: Path) -> None:
    found = {slope.perturbation: slope for slope in dose.slopes(load_runs([doses]))}
    # Only perturbations with two doses; Δ of -5 and -10, -40 and -80 points lie on lines through 0.
    assert list(found) == ["digits", "shuffle", "content", "structure", dose.CONTRAST]
    assert found["digits"].slope == pytest.approx(-10)
    assert found["shuffle"].slope == pytest.approx(-80)
    assert found[dose.CONTRAST].slope == pytest.approx(-70)
    # digits breaks problem 19 at both doses and 18 at the higher one; weights (0.5 d50 + 1 d100) / 1.25.
    values = [0.0] * 18 + [-0.8, -1.2]
    assert found["digits"].ci_low == pytest.approx(100 * stats.ttest_1samp(values, 0).confidence_interval(0.95).low)
    assert found[dose.CONTRAST].p_value < 0.001 < found["digits"].p_value


def test_macro_is_the_mean_of_the_benchmarks(add_run: AddRun, rows: Rows) -> None:
    counts = {"none": (10, 20), "shuffle_50": (8, 10), "shuffle_100": (6, 0)}
    for arm, (small, large) in counts.items():
        both = [
            rows([1] * small + [0] * (10 - small), benchmark="a"),
            rows([1] * large + [0] * (20 - large), benchmark="b"),
        ]
        folder = add_run(arm, pd.concat(both))
    found = [slope for slope in dose.slopes(load_runs([folder])) if slope.perturbation == "shuffle"]
    assert [(slope.benchmark, slope.n_problems) for slope in found] == [("macro", 30), ("a", 10), ("b", 20)]
    assert [slope.slope for slope in found] == pytest.approx([-70, -40, -100])
    assert found[0].ci_low < -70 < found[0].ci_high


def test_arms_with_gaps_have_no_part_in_a_slope(doses: Path, add_run: AddRun, rows: Rows) -> None:
    add_run("delete_100", rows([1] * 20))
    folder = add_run("delete_33", rows([1] * 19))
    assert "delete" not in {slope.perturbation for slope in dose.slopes(load_runs([folder]))}


def test_table_and_figure(doses: Path) -> None:
    scores = load_runs([doses])
    table = dose.dose_table(dose.slopes(scores))
    assert [(name, len(rows)) for name, rows in table.blocks] == [("organism", 5)]
    assert table.blocks[0][1][0][:3] == ("digits", "50, 100", "−10.0")
    assert not math.isnan(dose.to_frame(dose.slopes(scores))["slope"].sum())
    panels = figures.dose_response(delta.compare(scores), "none").axes
    assert [panel.get_title() for panel in panels] == ["digits", "shuffle"]
    assert list(panels[1].lines[1].get_ydata()) == pytest.approx([0, -40, -80])
