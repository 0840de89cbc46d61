"""How arms fail: steps that do not follow (structure) and steps that are wrong (content), where traces were checked."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import pandas as pd


@dataclass(frozen=True, slots=True)
class StepCounts:
    """Steps and failures of one arm, over all its benchmarks, samples and seeds whose traces were checked."""

    follow: float
    """Share of steps that use only what was stated or derived before them, in percent; NaN if no step was written."""
    right: float
    """Share of steps whose content holds, in percent; NaN if no step was written."""
    structure: int
    """Wrong answers with at least one step that does not follow."""
    content: int
    """Other wrong answers with at least one step whose content is wrong."""
    other: int
    """Remaining wrong answers: no step at all, no answer, or one that does not come from the steps."""


def step_counts(table: pd.DataFrame) -> dict[tuple[str, str], StepCounts]:
    """Count steps by (model, arm) in the long table (load.py); arms whose traces were not checked are absent."""
    checked = table[table["steps"].notna()]
    return {
        (str(model), str(arm)): _counts(rows)
        for (model, arm), rows in checked.groupby(["model", "arm"], observed=True, sort=False)
    }


def _counts(rows: pd.DataFrame) -> StepCounts:
    steps = float(rows["steps"].sum())
    wrong = rows[rows["correct"] == 0]
    broken = wrong["follow"] < wrong["steps"]
    mistaken = ~broken & (wrong["right"] < wrong["steps"])
    return StepCounts(
        follow=100 * float(rows["follow"].sum()) / steps if steps else nan,
        right=100 * float(rows["right"].sum()) / steps if steps else nan,
        structure=int(broken.sum()),
        content=int(mistaken.sum()),
        other=int((~broken & ~mistaken).sum()),
    )
