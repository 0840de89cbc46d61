"""Inserted steps: the thought keeps its number of steps, some of them are another problem's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from perturbations.base import Draw, Family, Needs, Outcome, Perturbation, Pool, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.shuffle import in_place


@dataclass(frozen=True)
class Insert(Perturbation):
    """Replaces a fraction of the steps by random steps of right demonstrations of other problems.

    Attributes:
        fraction: share of the steps of each demonstration that is replaced.
    """

    fraction: float
    name: ClassVar[str] = "insert"
    family: ClassVar[Family] = "structure"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)

    @property
    def needs(self) -> frozenset[Needs]:
        """Right demonstrations to take steps from."""
        return frozenset({"donors"})

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Replaces the first `round(fraction * n)` steps of a random order, each by a step drawn for its place."""
        steps = demonstration.steps
        chosen = draw.order(len(steps))[: round(self.fraction * len(steps))].tolist()
        donor_at, step_at = draw.uniform(len(steps)), draw.uniform(len(steps))
        if not chosen:
            return Outcome(demonstration, 0, len(steps), "dose_rounds_to_0")
        texts = [step.text for step in steps]
        for place in chosen:
            donor = _donor(pool.donors, int(donor_at[place] * len(pool.donors)), demonstration.problem_id)
            if donor is None:
                return Outcome(demonstration, 0, len(steps), "no_donor")
            texts[place] = donor.steps[int(step_at[place] * len(donor.steps))].text
        return Outcome(demonstration.with_steps(in_place(texts, steps)), len(chosen), len(steps))


def _donor(donors: Sequence[Demonstration], start: int, problem_id: str) -> Demonstration | None:
    for index in range(len(donors)):
        donor = donors[(start + index) % len(donors)]
        if donor.problem_id != problem_id:
            return donor
    return None
