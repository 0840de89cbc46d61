"""Reversed steps: the strongest disorder that keeps neighbours together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.steps import Steps


@dataclass(frozen=True)
class Reverse(Perturbation):
    """Puts the steps of a thought in reverse order.

    Attributes:
        fraction: share of the demonstrations whose thought is reversed.
    """

    fraction: float = 1.0
    name: ClassVar[str] = "reverse"
    family: ClassVar[Family] = "control"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)

    @property
    def counts(self) -> str:
        """Whole thoughts are reversed."""
        return "demonstrations"

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Reverses the whole thought, or nothing."""
        steps = Steps.of(demonstration.steps)
        if float(draw.uniform(1)[0]) >= self.fraction:
            return Outcome(demonstration, 0, 1, "not_chosen")
        if len(steps) < 2:
            return Outcome(demonstration, 0, 1, "one_step")
        return Outcome(demonstration.with_steps(steps.with_texts(steps.texts[::-1])), 1, 1)
