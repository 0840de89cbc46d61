"""Deleted steps: what is left keeps its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration, Step


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
        n = len(demonstration.steps)
        k = round(self.fraction * n)
        if not k:
            return Outcome(demonstration, 0, n, "dose_rounds_to_0")
        if self.pattern == "scattered":
            gone = set(draw.order(n)[:k].tolist())
        else:
            start = int(float(draw.uniform(1)[0]) * (n - k + 1))
            gone = set(range(start, start + k))
        kept = [step for i, step in enumerate(demonstration.steps) if i not in gone]
        return Outcome(demonstration.with_steps(closed(kept, demonstration.steps)), k, n)


def closed(kept: list[Step], steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The kept steps of `steps`, the last of them ending as the whole thought did (usually with no separator)."""
    if not kept:
        return ()
    return (*kept[:-1], Step(kept[-1].text, steps[-1].separator))
