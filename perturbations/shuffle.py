"""Shuffled steps: every step is there, their order is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.steps import Steps


@dataclass(frozen=True)
class Shuffle(Perturbation):
    """Moves a fraction of the steps to one another's places.

    The chosen steps change places along one random cycle, so that each of them moves. Separators stay where they are.

    Attributes:
        fraction: share of the steps of each demonstration that moves.
    """

    fraction: float
    name: ClassVar[str] = "shuffle"
    family: ClassVar[Family] = "structure"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Permutes the first `round(fraction * n)` steps of a random order among themselves."""
        steps = Steps.of(demonstration.steps)
        chosen = draw.order(len(steps))[: round(self.fraction * len(steps))].tolist()
        if len(chosen) < 2:
            reason = "dose_rounds_to_0" if not chosen else "one_step_chosen"
            return Outcome(demonstration, 0, len(steps), reason)
        before, texts = steps.texts, steps.texts.copy()
        for place, origin in zip(chosen, [*chosen[1:], chosen[0]], strict=True):
            texts[place] = before[origin]
        return Outcome(demonstration.with_steps(steps.with_texts(texts)), len(chosen), len(steps))
