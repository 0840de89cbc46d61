"""What notebooks show besides the tables: texts side by side, and the paper's table with its noise."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.completions import pairs
from analysis.load import Scores, load_runs
from analysis.noise import noise_table, reread
from analysis.traces import SideBySide, completions, perturbed
from tests.analysis.example import write_example


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return load_runs([write_example(tmp_path_factory.mktemp("example"))])


def test_a_demonstration_before_and_after(scores: Scores) -> None:
    shown = perturbed(scores, "shuffle_100")
    before, after = (sorted(text.replace("|>", "<").split("<")[2].split()) for text in shown.texts)
    assert shown.texts[0] != shown.texts[1]
    assert before == after, "shuffling keeps every word"
    with pytest.raises(ValueError, match="changed 24 demonstrations; number=24"):
        perturbed(scores, "shuffle_100", number=24)


def test_runs_without_corpora_say_so(golden_store: Path) -> None:
    with pytest.raises(ValueError, match="there is no corpus of the arm none"):
        perturbed(load_runs([golden_store]), "shuffle_67")


def test_completions_say_which_is_right(scores: Scores) -> None:
    shown = completions(next(pair for pair in pairs(scores, "none") if pair.arm == "shuffle_67"))
    assert shown.names == ("none (right)", "shuffle_67 (wrong)")


def test_only_lines_of_one_side_are_marked_and_nothing_is_markup() -> None:
    page = SideBySide("a<b", ("x", "y"), ("same\n<i>", "same\nother"))._repr_html_()
    assert page.count("<mark") == 2
    assert "&lt;i&gt;</mark>" in page
    assert "a&lt;b" in page


def test_noise_of_the_published_table() -> None:
    found = {one.arm: one for one in reread()}
    z = {arm: one.delta / ((one.ci_high - one.ci_low) / 2 / 1.959964) for arm, one in found.items()}
    # By hand, from the variance p(1-p)/n of eight accuracies.
    assert z["base"] == pytest.approx(-3.2, abs=0.06)
    assert z["wrong_answers"] == pytest.approx(-0.8, abs=0.06)
    assert z["shuffle_67"] == pytest.approx(-2.3, abs=0.06)
    assert {arm for arm, one in found.items() if one.p_holm < 0.05} == {
        *("base", "digits_100", "delete_67", "delete_100", "insert_67", "insert_100")
    }
    assert "6 of 18 Δ are beyond noise" in noise_table().notes[0]
