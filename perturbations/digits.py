"""Corrupted digits: content is wrong, structure stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import ClassVar, Literal

import numpy as np

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration, make_steps

Scope = Literal["thought", "solution", "response"]
SCOPES = ("thought", "solution", "response")
NUMBER = re.compile(r"\b[0-9]+(?:\.[0-9]+)?\b")


@dataclass(frozen=True)
class Digits(Perturbation):
    """Replaces a fraction of the digits by other random digits, or of the numbers by random digits.

    Attributes:
        fraction: share of the digits (or numbers) of each demonstration that is replaced.
        unit: `digit`: each of the ASCII characters 0-9 by itself, so that the length stays (the paper's text);
            `number`: each standalone number, `2.5` as one, by one digit (what the authors' code does).
        scope: where; the problem is never touched.
        may_repeat: let the new digit equal the old one, as the paper's wording does; one in ten then stays as it was,
            and the realised dose is a tenth below the asked one.
    """

    fraction: float
    unit: Literal["digit", "number"] = "digit"
    scope: Scope = "thought"
    may_repeat: bool = False
    name: ClassVar[str] = "digits"
    family: ClassVar[Family] = "content"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)
        check_choice("unit", self.unit, ("digit", "number"))
        check_choice("scope", self.scope, SCOPES)

    @property
    def counts(self) -> str:
        """Digits, or numbers."""
        return f"{self.unit}s"

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Replaces the first `round(fraction * n)` digits or numbers of a random order."""
        texts = scoped_texts(demonstration, self.scope)
        work = self._digits if self.unit == "digit" else self._numbers
        new, touched, total = work(texts, draw)
        if not touched:
            return Outcome(demonstration, 0, total, f"no_{self.unit}" if not total else "dose_rounds_to_0")
        return Outcome(with_texts(demonstration, self.scope, new), touched, total)

    def _digits(self, texts: Sequence[str], draw: Draw) -> tuple[list[str], int, int]:
        joined = "".join(texts)
        new, touched, total = corrupt_digits(joined, self.fraction, draw, self.may_repeat)
        return (_cut(new, texts) if touched else list(texts)), touched, total

    def _numbers(self, texts: Sequence[str], draw: Draw) -> tuple[list[str], int, int]:
        found = [[match.span() for match in NUMBER.finditer(text)] for text in texts]
        total = sum(map(len, found))
        chosen = set(draw.order(total)[: round(self.fraction * total)].tolist())
        value = draw.uniform(total)
        new: list[str] = []
        index = 0
        for text, spans in zip(texts, found, strict=True):
            pieces, end = list[str](), 0
            for start, stop in spans:
                if index in chosen:
                    pieces += [text[end:start], self._digit_for(text[start:stop], float(value[index]))]
                    end = stop
                index += 1
            new.append("".join([*pieces, text[end:]]))
        return new, len(chosen), total

    def _digit_for(self, number: str, value: float) -> str:
        if self.may_repeat or len(number) > 1:
            return str(int(value * 10))
        return str((int(number) + 1 + int(value * 9)) % 10)


def corrupt_digits(text: str, fraction: float, draw: Draw, may_repeat: bool = False) -> tuple[str, int, int]:
    """Replaces digits in a text, which keeps its length and everything else.

    Args:
        text: any text; only the ASCII characters 0-9 count as digits.
        fraction: share of its digits to replace.
        draw: one word of it per digit, whatever the fraction.
        may_repeat: let the new digit be the old one.

    Returns:
        The new text, the number of digits replaced, and the number of digits.
    """
    data = bytearray(text, "utf-8", "surrogatepass")
    view = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((view - np.uint8(48)) < 10)
    total = places.size
    touched = round(fraction * total)
    if not touched:
        return text, 0, total
    words = draw.words(total)
    chosen = words.argpartition(touched - 1)[:touched]
    places = places[chosen]
    # the high bits of a word rank its digit, the low ones choose the new digit
    value = ((words[chosen] & np.uint32(0xFFFF)) * np.uint32(10 if may_repeat else 9) >> np.uint32(16)).astype(np.uint8)
    view[places] = value + 48 if may_repeat else (view[places] - 47 + value) % 10 + 48
    return data.decode("utf-8", "surrogatepass"), touched, total


def scoped_texts(demonstration: Demonstration, scope: Scope) -> list[str]:
    """The texts a scope covers: the steps' texts, then the solution."""
    steps = [text for text, _ in demonstration.steps] if scope != "solution" else []
    return [*steps, demonstration.solution] if scope != "thought" else steps


def with_texts(demonstration: Demonstration, scope: Scope, texts: Sequence[str]) -> Demonstration:
    """The demonstration with the texts of `scoped_texts` replaced one by one."""
    solution = demonstration.solution if scope == "thought" else texts[-1]
    if scope == "solution":
        return demonstration.with_content(demonstration.steps, solution)
    steps = make_steps(texts, [separator for _, separator in demonstration.steps])
    return demonstration.with_content(steps, solution)


def _cut(joined: str, like: Sequence[str]) -> list[str]:
    ends = list(accumulate(map(len, like)))
    return list(map(joined.__getitem__, map(slice, chain((0,), ends), ends)))
