"""The two rows every table needs beside the perturbed ones: the intact arm and the untrained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool
from perturbations.demonstration import Demonstration


@dataclass(frozen=True)
class Intact(Perturbation):
    """Changes nothing: the baseline that every arm is compared with."""

    name: ClassVar[str] = "none"
    family: ClassVar[Family] = "none"

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """The demonstration itself."""
        return Outcome(demonstration, total=len(demonstration.steps), reason="intact")


@dataclass(frozen=True)
class Untrained(Perturbation):
    """Keeps no demonstration: the model as it was before fine-tuning."""

    name: ClassVar[str] = "base"
    family: ClassVar[Family] = "none"

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Drops the demonstration."""
        return Outcome(None, total=len(demonstration.steps), reason="untrained")
