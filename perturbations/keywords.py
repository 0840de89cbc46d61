"""Removed keywords: the words that announce reflection go, the reasoning stays."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import ClassVar, Literal

from perturbations.base import Draw, Family, Outcome, Perturbation, Pool, check_choice, check_fraction
from perturbations.demonstration import Demonstration
from perturbations.steps import Steps

KEYWORDS = (
    "Alternatively",
    "Wait",
    "Just to be thorough",
    "Just to make sure",
    "Let me just double-check",
    "Let me try another",
    "Let me verify",
    "Let me check",
    "Hmm",
    "But",
    "Maybe I should consider",
    "Maybe I can consider",
)
"""The keywords of the paper's appendix B as far as they are known: recalled, not verified against it. The dose report
counts them in every arm; what an arm removes is listed in its config."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Keywords(Perturbation):
    """Removes a fraction of the occurrences of keywords from the thought.

    An occurrence is a whole word (or phrase) in the case given. At fraction 1 the removal is repeated until none is
    left, since "Let me Wait, check" only becomes a keyword by removing one. A step that becomes blank goes with its
    separator.

    Attributes:
        fraction: share of the occurrences in each demonstration, or of the demonstrations.
        keywords: the words and phrases.
        unit: what goes. `word`: the keyword with the comma and the blanks that follow it; `sentence`: the sentence it
            stands in; `reflection`: from the beginning of that sentence to the end of its paragraph.
        per: `occurrence`: the fraction is of the occurrences in every demonstration; `demonstration`: of the
            demonstrations, each chosen one losing all (what the authors' code does).
        ignore_case: whether "wait" is an occurrence of "Wait".
    """

    fraction: float
    keywords: Sequence[str] = KEYWORDS
    unit: Literal["word", "sentence", "reflection"] = "word"
    per: Literal["occurrence", "demonstration"] = "occurrence"
    ignore_case: bool = False
    name: ClassVar[str] = "keywords"
    family: ClassVar[Family] = "content"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        check_fraction(self.fraction)
        check_choice("unit", self.unit, ("word", "sentence", "reflection"))
        check_choice("per", self.per, ("occurrence", "demonstration"))
        object.__setattr__(self, "keywords", tuple(self.keywords))
        if not self.keywords or not all(word.strip() == word != "" for word in self.keywords):
            raise ValueError("perturbation.keywords must be a list of words without blanks around them, and not empty")

    @property
    def counts(self) -> str:
        """Occurrences of keywords."""
        return "keywords"

    def apply(self, demonstration: Demonstration, draw: Draw, pool: Pool) -> Outcome:
        """Removes the first `round(fraction * n)` occurrences of a random order."""
        pattern = keyword_pattern(tuple(self.keywords), self.ignore_case)
        texts = Steps.of(demonstration.steps).texts
        # one search over all steps; the zero byte keeps a keyword from reaching over two of them
        found = [match.span() for match in pattern.finditer("\0".join(texts))]
        total = len(found)
        share = self.fraction
        if self.per == "demonstration":
            share = float(draw.uniform(1)[0] < self.fraction)
        chosen = sorted(draw.order(total)[: round(share * total)].tolist())
        if not chosen:
            reason = "no_keyword" if not total else "dose_rounds_to_0" if share == self.fraction else "not_chosen"
            return Outcome(demonstration, 0, total, reason)
        marked = _by_step(texts, [found[index] for index in chosen])
        steps = self._remove(Steps.of(demonstration.steps), marked, pattern if share == 1 else None)
        return Outcome(demonstration.with_steps(steps), len(chosen), total)

    def _remove(self, steps: Steps, marked: dict[int, list[Span]], until_none: re.Pattern[str] | None) -> Steps:
        texts = steps.texts.copy()
        for index, spans in marked.items():
            text = texts[index]
            while spans:
                text = _without(text, spans, self.unit)
                spans = [match.span() for match in until_none.finditer(text)] if until_none else []
            texts[index] = text
        kept = [index for index, text in enumerate(texts) if index not in marked or text.strip()]
        return steps.with_texts(texts).select(kept)


def _by_step(texts: Sequence[str], spans: Sequence[Span]) -> dict[int, list[Span]]:
    starts = [end + index for index, end in enumerate(accumulate(map(len, texts), initial=0))]
    marked: dict[int, list[Span]] = {}
    for start, stop in spans:
        index = bisect_right(starts, start) - 1
        marked.setdefault(index, []).append((start - starts[index], stop - starts[index]))
    return marked


@cache
def keyword_pattern(keywords: tuple[str, ...], ignore_case: bool = False) -> re.Pattern[str]:
    """A pattern matching any of `keywords` as whole words, the longest first.

    Every alternative begins with its own letters, and looks behind only after them: the regex engine then skips to
    possible first letters, which is an order of magnitude faster than a boundary at the front.
    """
    alternatives = [re.escape(word) + _edges(word) for word in sorted(keywords, key=len, reverse=True)]
    return re.compile("|".join(alternatives), re.IGNORECASE if ignore_case else 0)


def _edges(word: str) -> str:
    before = rf"(?<!\w{re.escape(word)})" if re.match(r"\w", word) else ""
    return before + (r"(?!\w)" if re.search(r"\w\Z", word) else "")


_BLANK_LINES = re.compile(r"\n\s*\n")
_AFTER_WORD = re.compile(r",?[ \t]*")
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][)\"'\]]))[ \t]+|[ \t]*\n\s*")


def _without(text: str, marked: list[Span], unit: str) -> str:
    if unit == "word":
        cuts = [(start, _end_of(_AFTER_WORD, text, stop)) for start, stop in marked]
    else:
        cuts = _sentence_cuts(text, marked, unit == "reflection")
    pieces, end = list[str](), 0
    for start, stop in cuts:
        if stop > end:
            pieces.append(text[end : max(start, end)])
            end = stop
    return "".join([*pieces, text[end:]])


def _end_of(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _sentence_cuts(text: str, marked: list[Span], to_end: bool) -> list[Span]:
    gaps = [match.span() for match in _SENTENCE_END.finditer(text)]
    starts = [0, *(stop for _, stop in gaps)]
    ends = [match.span() for match in _BLANK_LINES.finditer(text)] if to_end else gaps
    firsts = [first for first, _ in ends]
    stops = [*(stop for _, stop in ends), len(text)]
    cuts: list[Span] = []
    for start, _ in marked:
        before = starts[bisect_right(starts, start) - 1]
        after = stops[bisect_left(firsts, start)]
        if after == len(text):
            before = len(text[:before].rstrip()) if not cuts or cuts[-1][1] < len(text) else cuts[-1][0]
        cuts.append((before, after))
    return cuts
