"""Corrupted digits: content is wrong, structure stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.steps import Steps

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
        work = self._digits if self.unit == "digit" else self._numbers
        changed, touched, total = work(demonstration, draw)
        if not touched:
            return Outcome(demonstration, 0, total, f"no_{self.unit}" if not total else "dose_rounds_to_0")
        return Outcome(changed, touched, total)

    def _digits(self, one: Demonstration, draw: Draw) -> tuple[Demonstration, int, int]:
        steps = Steps.of(one.steps)
        thought = steps.thought if self.scope != "solution" else ""
        text = thought + one.solution if self.scope != "thought" else thought
        new, touched, total = corrupt_digits(text, self.fraction, draw, self.may_repeat)
        if thought:  # its length stays, so it is cut where it was
            steps = Steps.cut(new[: len(thought)], steps.ends)
        return one.with_content(steps, new[len(thought) :] or one.solution), touched, total

    def _numbers(self, one: Demonstration, draw: Draw) -> tuple[Demonstration, int, int]:
        texts = scoped_texts(one, self.scope)
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
        return with_texts(one, self.scope, new), len(chosen), total

    def _digit_for(self, number: str, value: float) -> str:
        if self.may_repeat or len(number) > 1:
            return str(int(value * 10))
        return str((int(number) + 1 + int(value * 9)) % 10)


_ZERO = np.uint8(ord("0"))
_WORDS = np.arange(1 << 16, dtype=np.uint32)
_ANY = (_WORDS * 10 >> 16).astype(np.uint8) + _ZERO
"""A digit for every 16-bit word."""
_STEP = (_WORDS * 9 >> 16).astype(np.uint8) + np.uint8(1)
"""1 to 9 for every 16-bit word: how far a digit moves on."""
_NEXT = ((np.arange(256) - 48) % 10 + 48).astype(np.uint8)
"""The digit that a character code of a digit, plus a step, comes to."""


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
    places = ((view - _ZERO) < 10).nonzero()[0]
    total = places.size
    touched = round(fraction * total)
    if not touched:
        return text, 0, total
    words = draw.words(total)
    limit = np.partition(words, touched - 1)[touched - 1]
    chosen = (words <= limit).nonzero()[0]
    if chosen.size > touched:  # equal words: the first of them count
        chosen = np.argsort(words, kind="stable")[:touched]
    places = places.take(chosen)
    # the high bits of a word rank its digit, the low ones choose the new digit
    low = words.view("<u2")[::2].take(chosen)
    view[places] = _ANY.take(low) if may_repeat else _NEXT.take(view.take(places) + _STEP.take(low))
    return data.decode("utf-8", "surrogatepass"), touched, total


def scoped_texts(demonstration: Demonstration, scope: Scope) -> list[str]:
    """The texts a scope covers: the steps' texts, then the solution."""
    steps = Steps.of(demonstration.steps).texts if scope != "solution" else []
    return [*steps, demonstration.solution] if scope != "thought" else steps


def with_texts(demonstration: Demonstration, scope: Scope, texts: Sequence[str]) -> Demonstration:
    """The demonstration with the texts of `scoped_texts` replaced one by one."""
    solution = demonstration.solution if scope == "thought" else texts[-1]
    if scope == "solution":
        return demonstration.with_content(demonstration.steps, solution)
    steps = Steps.of(demonstration.steps)
    return demonstration.with_content(steps.with_texts(list(texts[: len(steps)])), solution)
