from __future__ import annotations

import pickle
from array import array

import pytest

from perturbations.steps import Step, Steps

PIECES = (Step("a", "\n\n"), Step("béé", " "), Step("c", ""))
THOUGHT, ENDS = "a\n\nbéé c", array("i", [1, 3, 6, 7, 8, 8])


@pytest.mark.parametrize("steps", [Steps.of(PIECES), Steps.cut(THOUGHT, ENDS)], ids=["pieces", "text"])
def test_steps_behave_as_the_tuple_of_them(steps: Steps) -> None:
    assert steps == PIECES and steps == Steps.of(PIECES) and hash(steps) == hash(PIECES) and steps != PIECES[:2]
    assert (len(steps), steps[1], steps[-1], list(steps)) == (3, PIECES[1], PIECES[2], list(PIECES))
    assert steps[1:] == PIECES[1:] and steps + PIECES == PIECES + steps == PIECES * 2
    assert tuple(reversed(steps)) == PIECES[::-1] and pickle.loads(pickle.dumps(steps)) == PIECES
    with pytest.raises(IndexError):
        steps[3]


@pytest.mark.parametrize("steps", [Steps.of(PIECES), Steps.cut(THOUGHT, ENDS)], ids=["pieces", "text"])
def test_either_form_becomes_the_other(steps: Steps) -> None:
    assert (steps.thought, steps.ends) == (THOUGHT, ENDS)
    assert (steps.texts, steps.separators) == (["a", "béé", "c"], ["\n\n", " ", ""])


def test_steps_with_other_texts_or_fewer_of_them() -> None:
    steps = Steps.cut(THOUGHT, ENDS)
    assert steps.with_texts(["1", "2", "3"]).thought == "1\n\n2 3"
    assert steps.select([0, 1]) == (Step("a", "\n\n"), Step("béé", ""))
    assert steps.select([]) == () and not steps.select([])
    with pytest.raises(ValueError, match="2 texts, but 3 separators"):
        steps.with_texts(["1", "2"])
