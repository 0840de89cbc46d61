"""Deleted steps: what is left keeps its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.steps import Steps


@dataclass(frozen=True)
class Delete(Perturbation):
    """Deletes a fraction of the steps; deleting all leaves the solution alone, without the thought's tags.

    Attributes:
        fraction: share of the steps of each demonstration that is deleted.
        pattern: `scattered`: any steps; `contiguous`: one run of them, anywhere.
    """

    fraction: float
    pattern: Literal["scattered", "contiguous"] = "scattered"
    name: ClassVar[str] = "delete"
    family: ClassVar[Family] = "structure"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)
        check_choice("pattern", self.pattern, ("scattered", "contiguous"))

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Deletes exactly `round(fraction * n)` steps."""
        steps = Steps.of(demonstration.steps)
        n = len(steps)
        k = round(self.fraction * n)
        if not k:
            return Outcome(demonstration, 0, n, "dose_rounds_to_0")
        if self.pattern == "scattered":
            gone = set(draw.order(n)[:k].tolist())
        else:
            start = int(float(draw.uniform(1)[0]) * (n - k + 1))
            gone = set(range(start, start + k))
        kept = [place for place in range(n) if place not in gone]
        return Outcome(demonstration.with_steps(steps.select(kept)), k, n)
