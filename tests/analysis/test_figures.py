"""Figures: what they show, in which order, and that their bytes do not depend on the day."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from analysis import delta, figures, style
from analysis.load import load_runs


@pytest.fixture
def forest(golden_store: Path) -> Figure:
    return figures.forest(delta.compare(load_runs([golden_store])), "none")


def test_forest_lists_the_arms_and_both_deltas(forest: Figure) -> None:
    axes = forest.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["base", "digits_50", "wrong_answers", "keywords_100", "shuffle_67", "delete_100"]
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("incomplete") == 2
    assert "−60.0" in texts
    assert "−9.1" in texts
    assert [text for text in texts if text in ("content", "structure")] == ["content", "structure"]
    hollow = [line.get_xdata()[0] for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert min(hollow) == pytest.approx(-16.825)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_bytes_are_the_same_every_time(golden_store: Path, tmp_path: Path, ending: str) -> None:
    rows = delta.compare(load_runs([golden_store]))
    for name in ("one", "two"):
        style.save(figures.forest(rows, "none"), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"two.{ending}").read_bytes()


def test_families_differ_in_greyscale_and_in_shape() -> None:
    grey = sorted(
        sum(w * c for w, c in zip((0.21, 0.72, 0.07), to_rgb(c), strict=True)) for c in style.COLOURS.values()
    )
    assert style.COLOURS["content"] != style.COLOURS["structure"]
    content, structure = (
        sum(w * c for w, c in zip((0.21, 0.72, 0.07), to_rgb(style.COLOURS[kind]), strict=True))
        for kind in ("content", "structure")
    )
    assert abs(content - structure) > 0.05
    assert len(set(style.MARKERS.values())) == len(style.MARKERS) == len(grey)
