"""Tests of differences against closed forms, enumeration, an independent implementation, and missing data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluate import estimate as e

NAN = math.nan


def by_enumeration(differences: list[float]) -> float:
    means = [abs(np.dot(differences, signs)) for signs in itertools.product((1, -1), repeat=len(differences))]
    return float(np.mean(np.array(means) >= abs(sum(differences)) - 1e-9))


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=9))
def test_sign_flip_is_exact_for_few_pairs(eighths: list[int]) -> None:
    differences = [value / 8 for value in eighths]
    assert e.sign_flip(differences) == pytest.approx(by_enumeration(differences))


def test_sign_flip_leaves_out_what_was_not_graded() -> None:
    assert e.sign_flip([0.5, 1.0, -0.25, 0.75, 0, 0, NAN]) == pytest.approx(by_enumeration([0.5, 1.0, -0.25, 0.75]))
    assert e.sign_flip([0, 0]) == 1.0
    assert math.isnan(e.sign_flip([NAN]))


@pytest.mark.parametrize("count", [5, 63, 64, 65, 300])
def test_many_equal_differences_are_a_binomial_test(count: int) -> None:
    positive = count // 3
    expected = stats.binomtest(positive, count, 0.5).pvalue
    assert e.sign_flip([0.1] * positive + [-0.1] * (count - positive)) == pytest.approx(expected)


def test_random_signs_have_the_moments_of_all_signs() -> None:
    sizes, counts = np.array([0.25, 0.5, 1.0]), np.array([64, 3, 130])
    sums = e._drawn(sizes, counts, np.random.default_rng(0))
    assert sums.mean() == pytest.approx(0, abs=0.5)
    assert sums.var() == pytest.approx(float((sizes**2 * counts).sum()), rel=0.05)


def test_drawn_signs_agree_with_an_independent_implementation() -> None:
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.02, 0.05):
        differences = np.round(rng.normal(shift, 0.3, 200) * 16) / 16
        theirs = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=e.PATTERNS, rng=rng, vectorized=True
        ).pvalue
        assert e.sign_flip(differences) == pytest.approx(theirs, abs=4 * math.sqrt(0.25 / e.PATTERNS))
        assert e.sign_flip(differences) == e.sign_flip(differences)


def test_a_p_value_from_draws_is_never_zero() -> None:
    assert e.sign_flip(np.linspace(0.1, 1, 400)) == pytest.approx(1 / (1 + e.PATTERNS))


def test_mcnemar_is_the_binomial_test_of_discordant_pairs() -> None:
    arm, baseline = [1] * 2 + [0] * 10 + [1] * 30, [0] * 2 + [1] * 10 + [1] * 30
    expected = 2 * sum(math.comb(12, i) for i in range(3)) / 2**12
    assert e.mcnemar(arm, baseline) == pytest.approx(expected)
    assert e.sign_flip(np.subtract(arm, baseline)) == pytest.approx(expected)
    assert e.mcnemar([1, 0], [1, 0]) == 1.0
    assert math.isnan(e.mcnemar([NAN], [1]))
    with pytest.raises(ValueError, match="one completion per problem"):
        e.mcnemar([0.5], [1])


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(e.holm([0.01, NAN, 0.04, 0.03]), [0.03, NAN, 0.06, 0.06])
    assert e.holm([0.9, 0.8]).tolist() == [1.0, 1.0]
