"""Consistently renamed numbers: every value is wrong, and what hangs together still does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.digits import NUMBER, SCOPES, Scope, scoped_texts, with_texts

_PLACES = 32


@dataclass(frozen=True)
class RenameNumbers(Perturbation):
    """Turns a number into another one of the same length, the same one throughout a demonstration.

    Digits are renamed by a random cycle per place of the number, so that different numbers stay different and none
    stays itself; a leading digit other than 0 never becomes 0.

    Attributes:
        fraction: share of the distinct numbers of each demonstration that is renamed. Below 1 a renamed number can
            meet one that kept its name.
        scope: where; the problem is never touched.
    """

    fraction: float = 1.0
    scope: Scope = "thought"
    name: ClassVar[str] = "rename_numbers"
    family: ClassVar[Family] = "control"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)
        check_choice("scope", self.scope, SCOPES)

    @property
    def counts(self) -> str:
        """Distinct numbers of a demonstration."""
        return "numbers"

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Renames the first `round(fraction * n)` distinct numbers of a random order."""
        texts = scoped_texts(demonstration, self.scope)
        numbers = sorted({number for text in texts for number in NUMBER.findall(text)})
        cycles = _cycles(draw)
        chosen = draw.order(len(numbers))[: round(self.fraction * len(numbers))].tolist()
        names = {numbers[i]: _renamed(numbers[i], cycles) for i in chosen}
        if not names:
            reason = "no_number" if not numbers else "dose_rounds_to_0"
            return Outcome(demonstration, 0, len(numbers), reason)
        new = [NUMBER.sub(lambda match: names.get(match.group(), match.group()), text) for text in texts]
        return Outcome(with_texts(demonstration, self.scope, new), len(names), len(numbers))


def _cycles(draw: Draw) -> list[list[int]]:
    first = [0, *_cycle(draw, 9, 1)]
    return [first, *(_cycle(draw, 10, 0) for _ in range(_PLACES))]


def _cycle(draw: Draw, size: int, low: int) -> list[int]:
    order = draw.order(size)
    successor = np.empty(size, dtype=np.intp)
    successor[order] = np.roll(order, -1)
    return (successor + low).tolist()


def _renamed(number: str, cycles: list[list[int]]) -> str:
    digits = number.replace(".", "")
    tables = [cycles[1 + place % _PLACES] for place in range(len(digits))]
    if len(digits) > 1:
        tables[0] = cycles[0]
    new = "".join(str(table[int(digit)]) for table, digit in zip(tables, digits, strict=True))
    point = number.find(".")
    return new if point < 0 else f"{new[:point]}.{new[point:]}"
