"""How much of the paper's Table 2 is within the noise of its own numbers of problems.

The paper prints accuracies of single greedy runs without intervals and without outputs for most arms, so Δ cannot be
paired here. An accuracy p over n problems has the binomial variance p (1 - p) / n, the mean of four benchmarks a
sixteenth of the sum of theirs, and the Δ of two arms the sum of both arms' variances. Arms answer the same problems,
so their errors are correlated and these intervals are too wide rather than too narrow for the problems; what training
seeds add is not in them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from analysis import arms, published
from analysis.render import Table
from analysis.tables import LEVEL, p_text, signed
from evaluate.estimate import holm


@dataclass(frozen=True, slots=True)
class Reread:
    """An arm's published Δ of the average, in points, with the interval it would have had."""

    arm: str
    delta: float
    ci_low: float
    ci_high: float
    p_value: float
    """Two-sided, of no difference, by the normal approximation."""
    p_holm: float
    """Holm-adjusted over all arms of the table."""


def reread() -> list[Reread]:
    """All arms of Table 2 against the intact one, in table order."""
    names = arms.order((arm, "") for arm in published.TABLE_2 if arm != "none")
    errors = [math.hypot(_error(arm), _error("none")) for arm in names]
    deltas = [published.average(arm) - published.average("none") for arm in names]
    p_values = [float(2 * stats.norm.sf(abs(delta) / error)) for delta, error in zip(deltas, errors, strict=True)]
    width = float(stats.norm.ppf(0.975))
    return [
        Reread(arm, delta, delta - width * error, delta + width * error, p, float(adjusted))
        for arm, delta, error, p, adjusted in zip(names, deltas, errors, p_values, holm(p_values), strict=True)
    ]


def noise_table() -> Table:
    """The published Δ with their intervals, and whether they are beyond noise."""
    blocks: dict[str, list[tuple[str, ...]]] = {}
    found = reread()
    for one in found:
        interval = f"[{signed(one.ci_low)}, {signed(one.ci_high)}]"
        verdict = "yes" if one.p_holm < LEVEL else "no"
        cells = (one.arm, signed(one.delta), interval, p_text(one.p_value), p_text(one.p_holm), verdict)
        blocks.setdefault(arms.HEADINGS[arms.family(one.arm)], []).append(cells)
    beyond = sum(one.p_holm < LEVEL for one in found)
    return Table(
        title="The paper's Table 2: Δ of the average to none, in points",
        header=("Arm", "Published Δ", "95 % interval", "p", "p (Holm)", "Beyond noise?"),
        blocks=tuple((name, tuple(rows)) for name, rows in blocks.items()),
        notes=(
            f"{beyond} of {len(found)} Δ are beyond noise (Holm-adjusted p below {LEVEL}). "
            f"{sum(published.PROBLEMS.values())} problems, one greedy run each; unpaired binomial intervals.",
        ),
    )


def _error(arm: str) -> float:
    """Standard error of an arm's average over the four benchmarks, in points."""
    shares = [(accuracy / 100, published.PROBLEMS[name]) for accuracy, name in _row(arm)]
    return 100 * math.sqrt(sum(p * (1 - p) / n for p, n in shares)) / len(shares)


def _row(arm: str) -> list[tuple[float, str]]:
    return list(zip(published.TABLE_2[arm], published.BENCHMARKS, strict=True))
