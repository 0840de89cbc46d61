"""What a completion shows besides being right or wrong: whether it ended, looped, kept the format, reflected."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from evaluate.spec import FinishReason

TAIL_CHARACTERS = 16_000
LOOP_RATIO = 0.15
"""Compressed size over size of the tail below which it says the same over and over. Of the published 32B outputs on
AIME24 and AMC23, none of 481 with a boxed answer is below it and 173 of 197 without one are."""
_MIN_TAIL = 1000  # the compressor's own overhead hides repetition in shorter texts

_TAGS = ("<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>", "<|end_of_solution|>")


@dataclass(frozen=True, slots=True)
class Measures:
    """Measures of one completion."""

    truncated: bool
    """Cut off at the token limit."""
    looping: bool | None
    """Its tail repeats itself; None for texts too short to tell."""
    well_formed: bool
    """Thought and solution tags are there once each and in order."""
    keywords: int
    """Occurrences of reflection keywords."""
    confidently_wrong: bool | None
    """Ended, well-formed and wrong; None if it was not graded."""


def measure(text: str, finish_reason: FinishReason, correct: bool | None, keywords: Sequence[str]) -> Measures:
    """Measure one completion; `keywords` are counted as whole words in the case given."""
    truncated = finish_reason == "length"
    formed = well_formed(text)
    ratio = tail_ratio(text)
    return Measures(
        truncated=truncated,
        looping=None if ratio is None else ratio < LOOP_RATIO,
        well_formed=formed,
        keywords=count_keywords(text, keywords),
        confidently_wrong=None if correct is None else formed and not truncated and not correct,
    )


def tail_ratio(text: str) -> float | None:
    """Compressed size over size of the last `TAIL_CHARACTERS`; near 0.35 for prose. None for short texts."""
    if len(text) < _MIN_TAIL:
        return None
    tail = text[-TAIL_CHARACTERS:].encode()
    return len(zlib.compress(tail)) / len(tail)


def well_formed(text: str) -> bool:
    """Whether the tags of thought and solution are there once each and in order."""
    if any(text.count(tag) != 1 for tag in _TAGS):
        return False
    places = [text.index(tag) for tag in _TAGS]
    return places == sorted(places)


def count_keywords(text: str, keywords: Sequence[str]) -> int:
    """Occurrences of any of `keywords` as whole words; the longest counts where several begin at one place."""
    if not keywords:
        return 0
    words = "|".join(re.escape(word) for word in sorted(keywords, key=len, reverse=True))
    return len(re.findall(rf"(?<!\w)(?:{words})(?!\w)", text))
