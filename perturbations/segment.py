"""Lossless segmenters: a thought cut into steps whose concatenation is the thought, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from perturbations.demonstration import Step, make_steps

_BLANK_LINES = re.compile(r"(\n\s*\n)")
_BLANK_LINES_CRLF = re.compile(r"(\r?\n\s*\n)")


def paragraphs(thought: str) -> tuple[Step, ...]:
    r"""Cuts at blank lines, the rule the demonstrations' own format states ("steps separated with '\n\n'").

    A blank line inside a code fence or a formula cuts too; indentation stays with the step it indents.
    """
    pieces = (_BLANK_LINES_CRLF if "\r" in thought else _BLANK_LINES).split(thought)
    return make_steps(pieces[::2], [*pieces[1::2], ""]) if thought else ()


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


def reflections(thought: str) -> tuple[Step, ...]:
    """Cuts at blank lines before which the line of thought breaks.

    A step begins with a paragraph that opens by backtracking, by verifying, or by taking another way: the paper's
    criterion, which it put to a language model, as rules over the paragraph's first words.
    """
    cut = paragraphs(thought)
    return group(cut, [i for i, step in enumerate(cut) if i == 0 or _REFLECTS.match(step.text)])


def group(cut: Sequence[Step], starts: Sequence[int]) -> tuple[Step, ...]:
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
    steps: list[Step] = []
    for start, stop in zip(starts, [*starts[1:], len(cut)], strict=False):
        run = cut[start:stop]
        text = "".join([piece for step in run for piece in step][:-1])
        steps.append(Step(text, run[-1].separator))
    return tuple(steps)


SEGMENTERS: dict[str, Callable[[str], tuple[Step, ...]]] = {"paragraph": paragraphs, "reflection": reflections}
"""By the name used in `data.segmenter`; `llm`, which needs recorded answers, is in `segment_llm`."""
