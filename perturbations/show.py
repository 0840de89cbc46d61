"""A demonstration before and after, side by side, for a person to look at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest

from perturbations.demonstration import Demonstration

_RED, _GREEN, _SAME, _RESET = "\033[1;31m", "\033[1;32m", "", "\033[0m"

Word = tuple[str, str]
"""A word and the colour it is printed in."""


def side_by_side(before: Demonstration, after: Demonstration, width: int = 160, colour: bool = True) -> str:
    """Two columns, aligned step by step: what is gone red on the left, what is new green on the right.

    Args:
        before: the intact demonstration.
        after: the perturbed one.
        width: of the whole, in characters.
        colour: with ANSI colours; without, a `-` or `+` stands before lines with something changed.
    """
    half = (width - 3) // 2
    lines: list[str] = []
    for left, right in _cells(_blocks(before), _blocks(after)):
        for a, b in zip_longest(_wrapped(left, half, colour), _wrapped(right, half, colour), fillvalue=" " * half):
            lines.append(f"{a} │ {b}".rstrip())
        lines.append(" " * half + " │")
    return "\n".join(lines)


def _blocks(one: Demonstration) -> list[str]:
    steps = [step.text for step in one.steps]
    return [text for text in [one.head.strip(), *steps, one.middle.strip(), one.solution, one.tail.strip()] if text]


def _cells(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[list[Word], list[Word]]]:
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        for left, right in zip_longest(before[a:b], after[c:d]):
            if kind == "equal":
                yield _words(left, _SAME), _words(right, _SAME)
            elif left is None or right is None:
                yield _words(left or "", _RED), _words(right or "", _GREEN)
            else:
                yield _changed_words(left, right)


def _words(text: str, colour: str) -> list[Word]:
    return [(word, colour) for word in re.findall(r"\n|\S+", text)]


def _changed_words(left: str, right: str) -> tuple[list[Word], list[Word]]:
    a, b = _words(left, _SAME), _words(right, _SAME)
    for kind, i, j, k, n in SequenceMatcher(None, [w for w, _ in a], [w for w, _ in b], autojunk=False).get_opcodes():
        if kind != "equal":
            a[i:j] = [(word, _RED) for word, _ in a[i:j]]
            b[k:n] = [(word, _GREEN) for word, _ in b[k:n]]
    return a, b


def _wrapped(words: Sequence[Word], width: int, colour: bool) -> Iterator[str]:
    line: list[Word] = []
    room = width - 2
    for word, shade in words:
        for piece in [word[i : i + width - 2] for i in range(0, len(word), width - 2)]:
            if piece == "\n" or room < len(piece):
                yield _line(line, width, colour)
                line, room = [], width - 2
            if piece != "\n":
                line.append((piece, shade))
                room -= len(piece) + 1
    yield _line(line, width, colour)


def _line(words: Sequence[Word], width: int, colour: bool) -> str:
    shades = {shade for _, shade in words}
    mark = "  " if colour else "- " if _RED in shades else "+ " if _GREEN in shades else "  "
    plain = mark + " ".join(word for word, _ in words)
    text = mark + " ".join(f"{shade}{word}{_RESET}" if shade else word for word, shade in words) if colour else plain
    return text + " " * (width - len(plain))
