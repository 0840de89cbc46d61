"""Truncated thoughts: as many steps as a deletion leaves, but an unbroken run of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.steps import Steps


@dataclass(frozen=True)
class Truncate(Perturbation):
    """Cuts steps off one end of the thought.

    Attributes:
        fraction: share of the steps of each demonstration that is cut off.
        keep: the end that stays.
    """

    fraction: float
    keep: Literal["start", "end"] = "start"
    name: ClassVar[str] = "truncate"
    family: ClassVar[Family] = "control"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)
        check_choice("keep", self.keep, ("start", "end"))

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Cuts exactly `round(fraction * n)` steps."""
        steps = Steps.of(demonstration.steps)
        cut = round(self.fraction * len(steps))
        if not cut:
            return Outcome(demonstration, 0, len(steps), "dose_rounds_to_0")
        kept = range(len(steps) - cut) if self.keep == "start" else range(cut, len(steps))
        return Outcome(demonstration.with_steps(steps.select(kept)), cut, len(steps))
