"""The checker: reads a trace of the organism step by step.

Of each step it says whether it *follows* (every value it uses was stated or derived before it, every variable it opens
up was asked for before it) and whether its content is *right* (the formula is the problem's, the arithmetic holds).
So a trace's failure divides into broken structure and wrong content. Keywords may be missing: a checker that needed
``Wait`` or ``But`` would call a trace broken for its wording alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from organism.teacher import SEPARATOR, THOUGHT_CLOSE, THOUGHT_OPEN
from organism.world import Definition, Puzzle, compute, parse_puzzle

Reason = Literal[
    "", "unreadable", "not asked for", "no value yet", "another value", "wrong formula", "wrong arithmetic"
]

Verdict = tuple[Reason, Reason]  # why a step does not follow, why its content is not right


class StepCheck(NamedTuple):
    """One step's verdict. ``broken`` says why it does not follow, ``wrong`` why its content is not right."""

    text: str
    broken: Reason
    wrong: Reason

    @property
    def follows(self) -> bool:
        """Whether everything the step uses was there before it."""
        return not self.broken

    @property
    def right(self) -> bool:
        """Whether what the step says is true."""
        return not self.wrong


@dataclass(frozen=True, slots=True)
class TraceCheck:
    """The verdicts on a trace's steps, in order."""

    checks: tuple[StepCheck, ...]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.checks)

    @property
    def follow(self) -> int:
        """Number of steps that follow."""
        return sum(check.follows for check in self.checks)

    @property
    def right(self) -> int:
        """Number of steps whose content is right."""
        return sum(check.right for check in self.checks)


def check_trace(problem: str, response: str) -> TraceCheck:
    """Check the thought of ``response`` (all of it that is there, where the closing tag is missing).

    Args:
        problem: the text of a problem of the world (ValueError where it is not one).
        response: the whole assistant turn; without a thought it has no steps.
    """
    _, opened, rest = response.partition(THOUGHT_OPEN)
    thought = rest.partition(THOUGHT_CLOSE)[0] if opened else ""
    reader = _Reader(parse_puzzle(problem))
    return TraceCheck(tuple(reader.read(step) for step in thought.split(SEPARATOR) if step.strip()))


_EQUATION = r"(\d)([+\-*])(\d)=(\d), ([a-z])=(\d)\."


@dataclass
class _Reader:
    """What has been asked for, stated and derived so far."""

    puzzle: Puzzle
    wanted: set[str] = field(default_factory=set[str])
    known: dict[str, int] = field(default_factory=dict[str, int])
    tried: str = ""

    def __post_init__(self) -> None:
        self.definitions = self.puzzle.by_variable
        self.used = {d.variable for d in self.puzzle.chain}
        self.wanted.add(self.puzzle.question)
        self.known.update({d.variable: d.constant for d in self.puzzle.definitions if not d.operand})

    def read(self, step: str) -> StepCheck:
        for pattern, rule in _RULES:
            match = pattern.fullmatch(step.strip())
            if match is not None:
                return StepCheck(step, *rule(self, *match.groups()))
        return StepCheck(step, "unreadable", "unreadable")

    def open(self, variable: str, operand: str, operator: str, constant: str, left: str) -> Verdict:
        broken: Reason = "" if variable in self.wanted else "not asked for"
        self.wanted.add(left)
        sound = left == operand and self._is_definition(variable, operand, operator, constant)
        return broken, "" if sound else "wrong formula"

    def state(self, variable: str, constant: str) -> Verdict:
        broken: Reason = "" if variable in self.wanted else "not asked for"
        self.known[variable] = int(constant)
        return broken, "" if self._is_definition(variable, "", "", constant) else "wrong formula"

    def derive(
        self,
        variable: str,
        operand: str,
        operator: str,
        constant: str,
        quoted: str,
        value: str,
        named: str,
        result: str,
    ) -> Verdict:
        broken = self._uses(quoted, int(value))
        sound = quoted == operand and named == variable and self._is_definition(variable, operand, operator, constant)
        self.known[named] = int(result)
        if not sound:
            return broken, "wrong formula"
        return broken, "" if compute(int(value), operator, int(constant)) == int(result) else "wrong arithmetic"

    def mend(self, value: str, operator: str, constant: str, result: str, variable: str, repeated: str) -> Verdict:
        verdict = self.verify(value, operator, constant, result, variable, repeated)
        self.known[variable] = int(repeated)
        return verdict

    def verify(self, value: str, operator: str, constant: str, result: str, variable: str, repeated: str) -> Verdict:
        definition = self.definitions.get(variable)
        broken: Reason = "no value yet"
        if definition is not None and definition.operand and variable in self.known:
            broken = self._uses(definition.operand, int(value))
        if definition is None or (definition.operator, str(definition.constant)) != (operator, constant):
            return broken, "wrong formula"
        holds = compute(int(value), operator, int(constant)) == int(result) == int(repeated)
        return broken, "" if holds else "wrong arithmetic"

    def attempt(self, variable: str, operand: str | None, operator: str | None, constant: str) -> Verdict:
        self.tried = variable
        sound = self._is_definition(variable, operand or "", operator or "", constant)
        return "", "" if sound else "wrong formula"

    def give_up(self, variable: str) -> Verdict:
        broken: Reason = "" if variable == self.tried else "not asked for"
        return broken, "wrong formula" if variable in self.used else ""

    def _uses(self, variable: str, value: int) -> Reason:
        if variable not in self.known:
            return "no value yet"
        return "" if self.known[variable] == value else "another value"

    def _is_definition(self, variable: str, operand: str, operator: str, constant: str) -> bool:
        return self.definitions.get(variable) == Definition(variable, operand, operator, int(constant))


_RULES: tuple[tuple[re.Pattern[str], Callable[..., Verdict]], ...] = (
    (re.compile(r"Need ([a-z])=([a-z])([+\-*])(\d)\. (?:But )?([a-z]) is open\."), _Reader.open),
    (re.compile(r"Need ([a-z])=(\d)\."), _Reader.state),
    (re.compile(r"So ([a-z])=([a-z])([+\-*])(\d), ([a-z])=(\d), ([a-z])=(\d)\."), _Reader.derive),
    (re.compile(rf"(?:Wait, )?check {_EQUATION} Right\."), _Reader.verify),
    (re.compile(rf"(?:Wait, )?{_EQUATION}"), _Reader.mend),
    (re.compile(r"(?:Alternatively, )?try ([a-z])=(?:([a-z])([+\-*]))?(\d)\."), _Reader.attempt),
    (re.compile(r"(?:But )?([a-z]) is not used\."), _Reader.give_up),
)
