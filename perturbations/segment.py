"""Lossless segmenters: a thought cut into steps whose concatenation is the thought, byte for byte."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate

from perturbations.steps import Steps

_BLANK_LINES = re.compile(r"(\n\s*\n)")
_BLANK_LINES_CRLF = re.compile(r"(\r?\n\s*\n)")


def paragraphs(thought: str) -> Steps:
    r"""Cuts at blank lines, the rule the demonstrations' own format states ("steps separated with '\n\n'").

    A blank line inside a code fence or a formula cuts too; indentation stays with the step it indents.
    """
    pieces = (_BLANK_LINES_CRLF if "\r" in thought else _BLANK_LINES).split(thought)
    ends = array("i", accumulate(map(len, pieces)))
    return Steps.cut(thought, ends + ends[-1:] if thought else array("i"))


_LEAD_IN = r"(?:(?:So|And|But|Now|Okay|Ok|OK|Well|Oh|Hmm+|First|Then)\b[,.\s]*)*"
_BACKTRACK = (
    r"wait|hold on|hmm|actually|no\b(?=[,.])|oops|on second thought|scratch that|i (?:made|think i made) a mistake|"
    r"that (?:doesn't|does not|can't|cannot|isn't|is not) (?:seem |look |be |make )?(?:right|correct|sense)|"
    r"let me (?:re-?think|think again|reconsider|start over|go back)|but"
)
_VERIFY = (
    r"(?:let me|let's|i (?:should|need to|can|will|want to)|i'll|just to|to)\s+(?:just\s+)?"
    r"(?:double[- ]?check|check|verify|confirm|re-?check|re-?calculate|make sure|be (?:sure|thorough|certain))"
)
_ANOTHER_WAY = (
    r"alternatively|another (?:way|approach|method|idea|thought|possibility|option)|"
    r"(?:let me|let's|i (?:could|can|should)|we (?:could|can)) (?:try|think|consider|approach|look)\b[^.\n]{0,40}"
    r"\b(?:another|different|differently|other|again|instead)|"
    r"(?:maybe|perhaps) (?:i|we|there|it|the|try)\b|what if|instead"
)
_REFLECTS = re.compile(rf"\s*{_LEAD_IN}(?i:{_BACKTRACK}|{_VERIFY}|{_ANOTHER_WAY})\b")


def reflections(thought: str) -> Steps:
    """Cuts at blank lines before which the line of thought breaks.

    A step begins with a paragraph that opens by backtracking, by verifying, or by taking another way: the paper's
    criterion, which it put to a language model, as rules over the paragraph's first words.
    """
    cut = paragraphs(thought)
    return group(cut, [i for i, text in enumerate(cut.texts) if i == 0 or _REFLECTS.match(text)])


def group(cut: Steps, starts: Sequence[int]) -> Steps:
    """Joins neighbouring steps.

    Args:
        cut: steps of a thought.
        starts: increasing indices into `cut`, the first of them 0, at which a joined step begins.

    Returns:
        One step per start; the separators inside a joined step become part of its text.

    Raises:
        ValueError: `starts` is not such a list.
    """
    first = [0] if cut else []
    if list(starts) != sorted(set(starts)) or list(starts[:1]) != first or max(starts, default=-1) >= len(cut):
        raise ValueError(f"step starts {list(starts)[:10]} are not increasing indices from 0 below {len(cut)}")
    stops = [*starts[1:], len(cut)] if starts else []
    return Steps.cut(cut.thought, array("i", [end for stop in stops for end in cut.ends[2 * stop - 2 : 2 * stop]]))


SEGMENTERS: dict[str, Callable[[str], Steps]] = {"paragraph": paragraphs, "reflection": reflections}
"""By the name used in `data.segmenter`; `llm`, which needs recorded answers, is in `segment_llm`."""
