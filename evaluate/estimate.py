"""Tests of paired differences, and what several tests at once do to their p-values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

PATTERNS = 10_000
"""Most outcomes of the sign flip that are enumerated; where there are more, so many random ones are drawn."""
_WORD = 64


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided p-value of paired `differences` having mean 0, by flipping their signs; NaN without pairs.

    If the arms did not differ, each difference could as well have the other sign. The p-value is the share of all
    patterns of signs whose mean is at least as far from 0 as the one seen; where there are too many patterns to go
    through, (1 + those as far among `PATTERNS` drawn) / (1 + `PATTERNS`) (Phipson and Smyth 2010, arXiv 1603.05766).
    NaN differences are left out. Deterministic.

    Differences of equal size are interchangeable: of n such, the number that stay positive is binomial, so only that
    number is enumerated or drawn. With one sample per problem this is the exact test of McNemar.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return math.nan
    values = values[values != 0]  # a zero has no sign to flip
    if len(values) == 0:
        return 1.0
    values = values / np.abs(values).max()
    sizes, counts = np.unique(np.round(np.abs(values), 12), return_counts=True)
    seen = abs(float(values.sum())) - 1e-9
    if math.prod(int(count) + 1 for count in counts) <= PATTERNS:
        sums, shares = _enumerated(sizes, counts)
        return min(float(shares[np.abs(sums) >= seen].sum()), 1.0)
    far = int((np.abs(_drawn(sizes, counts, np.random.default_rng(seed))) >= seen).sum())
    return (1 + far) / (1 + PATTERNS)


def _enumerated(sizes: Array, counts: NDArray[np.int_]) -> tuple[Array, Array]:
    """All sums that flipped signs can give, and the probability of each."""
    sums, shares = np.zeros(1), np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        positive = np.arange(count + 1)
        sums = np.add.outer(sums, size * (2 * positive - count)).ravel()
        shares = np.multiply.outer(shares, stats.binom.pmf(positive, count, 0.5)).ravel()
    return sums, shares


def _drawn(sizes: Array, counts: NDArray[np.int_], rng: np.random.Generator) -> Array:
    """Sums of differences with random signs; the ones among n random bits are a binomial number."""
    sums = np.zeros(PATTERNS)
    for size, count in zip(sizes, map(int, counts), strict=True):
        words = rng.integers(0, 2**_WORD, size=(PATTERNS, -(-count // _WORD)), dtype=np.uint64)
        words[:, -1] >>= np.uint64(-count % _WORD)
        sums += size * (2.0 * np.bitwise_count(words).sum(axis=1, dtype=np.int64) - count)
    return sums


def mcnemar(arm: ArrayLike, baseline: ArrayLike) -> float:
    """Exact two-sided McNemar p-value for one greedy completion per problem; NaN without pairs.

    Args:
        arm: 1, 0 or NaN per problem.
        baseline: the same of the baseline.

    Raises:
        ValueError: other values occur; use `sign_flip` for several samples per problem.
    """
    a, b = np.asarray(arm, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = a[kept], b[kept]
    if not np.isin(np.concatenate([a, b]), (0.0, 1.0)).all():
        raise ValueError("McNemar's test needs one completion per problem, 1 or 0")
    if len(a) == 0:
        return math.nan
    only_arm, only_baseline = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    discordant = only_arm + only_baseline
    return float(stats.binomtest(only_arm, discordant, 0.5).pvalue) if discordant else 1.0


def holm(p_values: ArrayLike) -> Array:
    """Holm's adjusted p-values in the given order; NaN stay NaN and are not counted as tests."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted
