"""The demonstration: a problem, the steps of a long chain of thought, and the solution, without losing a byte."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from perturbations.steps import Step, Steps

SKY_TAGS = ("<|begin_of_thought|>", "<|end_of_thought|>", "<|begin_of_solution|>", "<|end_of_solution|>")
THINK_TAGS = ("<think>", "</think>")


class ResponseParts(NamedTuple):
    """A response cut into five pieces whose concatenation is the response."""

    head: str
    thought: str
    middle: str
    solution: str
    tail: str


class RejectedError(ValueError):
    """A row that cannot become a demonstration.

    Attributes:
        reason: one word for counting, such as `no_thought`.
    """

    def __init__(self, reason: str, message: str) -> None:
        """Keeps the reason beside the message."""
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One training example.

    Attributes:
        id: identifies the baseline demonstration; the same in every arm.
        problem_id: shared by all traces of one problem.
        problem: the user turn as it stands; no perturbation changes it.
        head: opening tag with its blanks, before the thought.
        steps: the thought, `"".join(s.text + s.separator for s in steps)`; a tuple, or a `Steps`, which is faster.
        middle: closing tag of the thought, opening tag of the solution, and their blanks.
        solution: what follows the thought, with the boxed answer.
        tail: closing tag of the solution with its blanks; may be empty.
        answer: the gold answer, or the boxed one where the source has no other.
        source: where the row comes from, such as `NovaSky-AI/Sky-T1_data_17k#12`.
        correct: whether the trace's answer is right; None where the source does not say.
        system: the system prompt of the row, if it has one.
    """

    id: str
    problem_id: str
    problem: str
    head: str
    steps: Sequence[Step]
    middle: str
    solution: str
    tail: str
    answer: str
    source: str
    correct: bool | None
    system: str | None = None

    @property
    def thought(self) -> str:
        """The steps joined."""
        return Steps.of(self.steps).thought

    @property
    def response(self) -> str:
        """The whole assistant turn, as trained."""
        return self.respond(self.thought)

    def respond(self, thought: str) -> str:
        """The whole assistant turn around a thought that is already joined."""
        return f"{self.head}{thought}{self.middle}{self.solution}{self.tail}"

    def with_steps(self, steps: Sequence[Step]) -> Demonstration:
        """The same demonstration with other steps; with none, the thought goes with its tags and the solution stays.

        Args:
            steps: the new thought.

        Returns:
            A new demonstration; with `steps` empty its `head` is empty and its `middle` begins after the thought's
            closing tag.
        """
        if steps:
            return self.with_content(steps, self.solution)
        return replace(self, head="", steps=(), middle=_after_thought(self.middle))

    def with_content(self, steps: Sequence[Step], solution: str) -> Demonstration:
        """The same demonstration with other steps and another solution, tags as they are; faster than `replace`."""
        return Demonstration(
            self.id,
            self.problem_id,
            self.problem,
            self.head,
            steps,
            self.middle,
            solution,
            self.tail,
            self.answer,
            self.source,
            self.correct,
            self.system,
        )


def _after_thought(middle: str) -> str:
    for tag in (SKY_TAGS[1], THINK_TAGS[1]):
        before, found, after = middle.partition(tag)
        if found and not before.strip():
            return after.lstrip()
    return middle.lstrip()


def parse_response(text: str) -> ResponseParts:
    r"""Cuts a response into head, thought, middle, solution and tail; the blanks next to tags belong to the tags.

    Two forms are read: `<|begin_of_thought|>…<|end_of_thought|><|begin_of_solution|>…<|end_of_solution|>` and
    `<think>…</think>…`. The form is that of the opening tag which comes first; tags of the other form are plain text.

    Args:
        text: the whole assistant turn.

    Returns:
        The five pieces; `"".join(pieces) == text`.

    Raises:
        RejectedError: reason `no_thought` (no opening tag), `no_end` (a closing tag is missing), `repeated_tag` (a tag
            of the form occurs twice, so that the cut would be a guess), `misplaced_tag` (out of order, or text between
            the two blocks), `empty_thought` or `no_solution`.
    """
    starts = {tag: text.find(tag) for tag in (SKY_TAGS[0], THINK_TAGS[0])}
    found = [tag for tag in sorted(starts, key=starts.__getitem__) if starts[tag] >= 0]
    if not found:
        raise RejectedError("no_thought", f"no {SKY_TAGS[0]} and no {THINK_TAGS[0]} in the response")
    tags = SKY_TAGS if found[0] == SKY_TAGS[0] else THINK_TAGS
    places = _places(text, tags)
    head_end, thought_end = _strip_span(text, places[0] + len(tags[0]), places[1])
    if len(tags) == 4:
        if text[places[1] + len(tags[1]) : places[2]].strip():
            raise RejectedError("misplaced_tag", f"text between {tags[1]} and {tags[2]}")
        solution_start, solution_end = _strip_span(text, places[2] + len(tags[2]), places[3])
    else:
        solution_start, solution_end = _strip_span(text, places[1] + len(tags[1]), len(text))
    if head_end == thought_end:
        raise RejectedError("empty_thought", f"nothing between {tags[0]} and {tags[1]}")
    if solution_start == solution_end:
        raise RejectedError("no_solution", f"nothing after {tags[1]}")
    cuts = (0, head_end, thought_end, solution_start, solution_end, len(text))
    return ResponseParts(*(text[start:stop] for start, stop in pairwise(cuts)))


def _places(text: str, tags: tuple[str, ...]) -> list[int]:
    places = [text.find(tag) for tag in tags]
    for tag, place in zip(tags, places, strict=True):
        if place < 0:
            raise RejectedError("no_end", f"no {tag} in the response")
        if text.find(tag, place + len(tag)) >= 0:
            raise RejectedError("repeated_tag", f"{tag} occurs more than once")
    if places != sorted(places):
        raise RejectedError("misplaced_tag", f"the tags {', '.join(tags)} are out of order")
    return places


def _strip_span(text: str, start: int, end: int) -> tuple[int, int]:
    inner = text[start:end]
    left = len(inner) - len(inner.lstrip())
    return start + left, max(start + left, start + len(inner.rstrip()))


_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")


def boxed_spans(text: str) -> list[tuple[int, int]]:
    r"""Where the contents of `\boxed{…}` stand in `text`, braces balanced, as (start, end) in characters.

    A box that never closes has no span; a box inside a box counts as content of the outer one.
    """
    spans: list[tuple[int, int]] = []
    place = 0
    while match := _BOXED.search(text, place):
        end = _closing_brace(text, match.end())
        if end is None:
            return spans
        spans.append((match.end(), end))
        place = end
    return spans


def _closing_brace(text: str, start: int) -> int | None:
    depth, place = 1, start
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        place = match.start()
        if depth == 0:
            return place
    return None
