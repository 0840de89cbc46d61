"""What must hold for every perturbation, at every dose, under every segmenter, on real traces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from perturbations.apply import perturb
from perturbations.arms import named, names
from perturbations.base import Outcome, Perturbation, Pool
from perturbations.chain import Chain
from perturbations.delete import Delete
from perturbations.demonstration import Demonstration
from perturbations.digits import Digits
from perturbations.insert import Insert
from perturbations.keywords import Keywords
from perturbations.pool import build_pool
from perturbations.rename_numbers import RenameNumbers
from perturbations.reverse import Reverse
from perturbations.shuffle import Shuffle
from perturbations.swap_trace import SwapTrace
from perturbations.truncate import Truncate
from perturbations.wrong_answers import FlipAnswer
from tests.perturbations.conftest import count_keywords, joined

DOSED: dict[str, Callable[[float], Perturbation]] = {
    "digits": Digits,
    "numbers": lambda f: Digits(f, unit="number"),
    "digits_response": lambda f: Digits(f, scope="response"),
    "keywords": Keywords,
    "sentences": lambda f: Keywords(f, unit="sentence"),
    "reflections": lambda f: Keywords(f, unit="reflection"),
    "keywords_per_demonstration": lambda f: Keywords(f, per="demonstration"),
    "shuffle": Shuffle,
    "delete": Delete,
    "delete_contiguous": lambda f: Delete(f, pattern="contiguous"),
    "insert": Insert,
    "truncate": Truncate,
    "truncate_start": lambda f: Truncate(f, keep="end"),
    "reverse": Reverse,
    "swap_trace": SwapTrace,
    "rename_numbers": RenameNumbers,
    "flip_answer": FlipAnswer,
    "chain": lambda f: Chain([Shuffle(f), Digits(f)]),
}
DOSES = (0.2, 0.33, 0.5, 0.67, 0.7, 1.0)
SOLUTION_CHANGES = ("digits_response", "flip_answer")


@pytest.fixture(scope="module")
def right(corpus: list[Demonstration]) -> list[Demonstration]:
    return [one for one in corpus if one.correct is not False][::3]


@pytest.fixture(scope="module")
def pool(corpus: list[Demonstration]) -> Pool:
    return build_pool(corpus, frozenset({"donors", "partners"}), 0)


def outcomes(arm: Perturbation, right: Sequence[Demonstration], pool: Pool) -> list[tuple[Demonstration, Outcome]]:
    return [(one, perturb(one, arm, 0, pool)) for one in right]


def texts(one: Demonstration | None) -> list[str]:
    return [step.text for step in one.steps] if one else []


@pytest.mark.parametrize("name", DOSED)
def test_dose_0_is_the_identity(name: str, right: list[Demonstration], pool: Pool) -> None:
    for one, outcome in outcomes(DOSED[name](0.0), right, pool):
        assert outcome.demonstration is one
        assert outcome.touched == 0 and outcome.reason


@pytest.mark.parametrize("dose", DOSES)
@pytest.mark.parametrize("name", DOSED)
def test_only_the_thought_changes(name: str, dose: float, right: list[Demonstration], pool: Pool) -> None:
    changed = 0
    for one, outcome in outcomes(DOSED[name](dose), right, pool):
        after = outcome.demonstration
        assert after is not None
        assert (after.id, after.problem_id, after.problem, after.answer) == (
            one.id,
            one.problem_id,
            one.problem,
            one.answer,
        )
        assert (after.tail, after.system, after.source) == (one.tail, one.system, one.source)
        if name not in SOLUTION_CHANGES:
            assert after.solution == one.solution
        if after.steps:
            assert (after.head, after.middle) == (one.head, one.middle)
        assert after.steps or after.response.startswith("<|begin_of_solution|>")
        assert (after != one) or outcome.touched == 0 or after.thought == one.thought
        assert (outcome.touched == 0) == bool(outcome.reason)
        changed += after != one
    assert changed


@pytest.mark.parametrize(
    "name", ["digits", "numbers", "digits_response", "keywords", "shuffle", "delete", "insert", "truncate"]
)
@pytest.mark.parametrize("dose", DOSES)
def test_the_realised_dose_is_the_asked_one(name: str, dose: float, right: list[Demonstration], pool: Pool) -> None:
    for _, outcome in outcomes(DOSED[name](dose), right, pool):
        assert outcome.touched in (round(dose * outcome.total), 0 if round(dose * outcome.total) == 1 else -1)


@pytest.mark.parametrize("name", ["reverse", "swap_trace", "flip_answer", "keywords_per_demonstration"])
def test_a_dose_over_demonstrations_is_met_within_sampling_error(
    name: str, corpus: list[Demonstration], pool: Pool
) -> None:
    able = [one for one, outcome in outcomes(DOSED[name](1.0), corpus, pool) if outcome.touched]
    for dose in (0.2, 0.5):
        touched = sum(outcome.touched > 0 for _, outcome in outcomes(DOSED[name](dose), able, pool))
        assert abs(touched / len(able) - dose) < 4 * (dose * (1 - dose) / len(able)) ** 0.5


@pytest.mark.parametrize("dose", DOSES)
def test_digits_keep_their_places_on_real_text(dose: float, right: list[Demonstration], pool: Pool) -> None:
    for one, outcome in outcomes(Digits(dose), right, pool):
        assert outcome.demonstration is not None
        pairs = list(zip(one.thought, outcome.demonstration.thought, strict=True))
        changed = [(a, b) for a, b in pairs if a != b]
        assert len(changed) == round(dose * sum(a in "0123456789" for a, _ in pairs))
        assert all(a in "0123456789" and b in "0123456789" for a, b in changed)
        assert joined(outcome.demonstration.steps) == outcome.demonstration.thought


@pytest.mark.parametrize("dose", DOSES)
def test_steps_are_moved_deleted_and_replaced_as_told_on_real_text(
    dose: float, right: list[Demonstration], pool: Pool
) -> None:
    for one in right:
        n, k = len(one.steps), round(dose * len(one.steps))
        before = texts(one)
        shuffled, deleted, inserted = (
            texts(perturb(one, arm, 0, pool).demonstration) for arm in (Shuffle(dose), Delete(dose), Insert(dose))
        )
        assert Counter(shuffled) == Counter(before)
        moved = sum(a != b for a, b in zip(before, shuffled, strict=True))
        twins = n - len(set(before))  # two equal texts change places unseen
        assert (k if k > 1 else 0) - twins <= moved <= k
        remaining = iter(before)
        assert len(deleted) == n - k and all(text in remaining for text in deleted)
        replaced = sum(a != b for a, b in zip(before, inserted, strict=True))
        assert replaced <= k and (replaced > 0.8 * k or k < 10)


@pytest.mark.parametrize("dose", [0.2, 0.5, 1.0])
def test_keywords_go_one_by_one_on_real_text(dose: float, right: list[Demonstration], pool: Pool) -> None:
    asked = gone = 0
    for one, outcome in outcomes(Keywords(dose), right, pool):
        assert outcome.demonstration is not None
        before, after = count_keywords(one.thought), count_keywords(outcome.demonstration.thought)
        assert after <= before
        asked, gone = asked + round(dose * before.total()), gone + before.total() - after.total()
    assert asked == gone > 100


def touched_things(name: str, one: Demonstration, after: Demonstration | None) -> set[object]:
    """Identities of what a dose touched, comparable between doses of one demonstration."""
    assert after is not None
    if name in ("digits", "digits_response"):
        return {i for i, (a, b) in enumerate(zip(one.response, after.response, strict=True)) if a != b}
    if name in ("shuffle", "insert"):
        return {i for i, (a, b) in enumerate(zip(texts(one), texts(after), strict=True)) if a != b}
    if name in ("delete", "delete_contiguous", "truncate", "truncate_start"):
        return set((Counter(texts(one)) - Counter(texts(after))).elements())
    if name == "keywords":
        gone = Counter(count_keywords(one.thought))
        gone.subtract(count_keywords(after.thought))
        return {(word, i) for word, count in gone.items() for i in range(count)}
    return set() if after == one else {"whole"}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "digits",
            "digits_response",
            "shuffle",
            "insert",
            "delete",
            "delete_contiguous",
            "truncate",
            "truncate_start",
        ),
        *("keywords", "reverse", "swap_trace", "flip_answer", "keywords_per_demonstration"),
    ],
)
def test_doses_are_nested(name: str, right: list[Demonstration], pool: Pool) -> None:
    for one in right:
        touched = [touched_things(name, one, perturb(one, DOSED[name](d), 0, pool).demonstration) for d in DOSES]
        for lower, higher in pairwise(touched):
            if name == "shuffle":  # two equal texts can change places unseen
                assert len(lower - higher) <= len(texts(one)) - len(set(texts(one)))
            else:
                assert lower <= higher


@pytest.mark.parametrize("name", DOSED)
def test_neither_order_nor_company_matters(name: str, right: list[Demonstration], pool: Pool) -> None:
    arm = DOSED[name](0.5)
    alone = {one.id: outcome.demonstration for one, outcome in outcomes(arm, right, pool)}
    for one in reversed(right[::3]):
        assert perturb(one, arm, 0, pool).demonstration == alone[one.id]


@pytest.mark.parametrize("name", ["donors", "partners", "wrong_traces"])
def test_assignments_do_not_depend_on_the_order(name: str, corpus: list[Demonstration]) -> None:
    one, other = (build_pool(c, frozenset({name}), 3) for c in (corpus, corpus[::-1]))  # type: ignore[arg-type]
    assert one.donors == other.donors
    assert one.substitutes == other.substitutes
    for known in corpus:
        assert one.partner(known.id) == other.partner(known.id)
        assert one.wrong_trace(known.id) == other.wrong_trace(known.id)


def test_the_seed_changes_what_is_touched(right: list[Demonstration], pool: Pool) -> None:
    long = [one for one in right if len(one.steps) >= 10]
    for name in ("digits", "shuffle", "delete", "insert"):
        arm = DOSED[name](0.5)
        differ = sum(perturb(one, arm, 0, pool) != perturb(one, arm, 1, pool) for one in long)
        assert differ > 0.9 * len(long)


def test_every_config_file_is_an_arm_with_a_label_of_its_own() -> None:
    labels = {name: named(name).label for name in names()}
    for name, label in labels.items():
        assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.+-"), name
    for exact in (
        "none",
        "base",
        "wrong_answers",
        "flip_answer",
        "shuffle_67",
        "digits_50",
        "keywords_100",
        "delete_100",
    ):
        assert labels[exact] == exact
    doses = [name for name in labels if name[-1].isdigit()]
    assert len({labels[name] for name in doses}) == len(doses)


def test_parameters_that_are_not_default_show_in_the_label() -> None:
    assert Digits(0.5, unit="number").label == "digits_50+unit.number"
    assert Shuffle(1 / 3).label == "shuffle_33.33333333"
    one, other = (Keywords(1.0, keywords=words).label for words in (["So"], ["Then"]))
    assert one != other and one.startswith("keywords_100+keywords.")
    assert Chain([Shuffle(0.67), Digits(0.5)]).label == "shuffle_67.then.digits_50"


@pytest.mark.parametrize("fraction", [1.5, -0.1, float("nan"), "0.5", True, None])
@pytest.mark.parametrize("name", [name for name in DOSED if name != "chain"])
def test_a_fraction_outside_0_to_1_is_refused(name: str, fraction: float) -> None:
    with pytest.raises(ValueError, match=r"perturbation\.fraction=.*from 0 to 1"):
        DOSED[name](fraction)
