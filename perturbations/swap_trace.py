"""Swapped traces: a coherent thought that belongs to another problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perturbations.base import Draw, Family, Needs, Outcome, Perturbation, Pool, check_fraction
from perturbations.demonstration import Demonstration


@dataclass(frozen=True)
class SwapTrace(Perturbation):
    """Exchanges the whole thought for that of another problem; problem and solution stay.

    Every thought of the corpus is used once at fraction 1, so that the arm holds the same thoughts as the intact one.

    Attributes:
        fraction: share of the demonstrations whose thought is exchanged.
    """

    fraction: float = 1.0
    name: ClassVar[str] = "swap_trace"
    family: ClassVar[Family] = "control"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)

    @property
    def counts(self) -> str:
        """Whole thoughts are exchanged."""
        return "demonstrations"

    @property
    def needs(self) -> frozenset[Needs]:
        """A partner with another problem for every demonstration."""
        return frozenset({"partners"})

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Takes the partner's steps."""
        if float(draw.uniform(1)[0]) >= self.fraction:
            return Outcome(demonstration, 0, 1, "not_chosen")
        partner = pool.partner(demonstration.id)
        if partner is None:
            return Outcome(demonstration, 0, 1, "no_partner")
        return Outcome(demonstration.with_steps(partner.steps), 1, 1)
