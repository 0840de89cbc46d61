"""Several perturbations one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from perturbations.base import Draw, Family, Needs, Outcome, Perturbation, Pool
from perturbations.demonstration import Demonstration


@dataclass(frozen=True)
class Chain(Perturbation):
    """Applies perturbations in order, each to the result of the one before.

    A demonstration that one of them drops is dropped. Each draws as it would alone, so that
    `chain(shuffle_67, digits_50)` touches the steps that `shuffle_67` does.

    Attributes:
        perturbations: at least two.
    """

    perturbations: Sequence[Perturbation]
    name: ClassVar[str] = "chain"
    family: ClassVar[Family] = "control"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        object.__setattr__(self, "perturbations", tuple(self.perturbations))
        if len(self.perturbations) < 2:
            raise ValueError("perturbation.perturbations of a chain must list at least two perturbations")

    @property
    def counts(self) -> str:
        """Whatever the members count, added up."""
        return "+".join(dict.fromkeys(member.counts for member in self.perturbations))

    @property
    def needs(self) -> frozenset[Needs]:
        """All that the members need."""
        return frozenset[Needs]().union(*(member.needs for member in self.perturbations))

    @property
    def label(self) -> str:
        """The members' labels, joined by `.then.`."""
        return ".then.".join(member.label for member in self.perturbations)

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Applies the members in order."""
        current, touched, total = demonstration, 0, 0
        reasons: list[str] = []
        for member in self.perturbations:
            outcome = member.apply(current, draw.named(member.name), pool)
            touched, total = touched + outcome.touched, total + outcome.total
            reasons += [outcome.reason] if outcome.reason else []
            if outcome.demonstration is None:
                return Outcome(None, touched, total, outcome.reason)
            current = outcome.demonstration
        return Outcome(current, touched, total, None if touched else "+".join(reasons))
