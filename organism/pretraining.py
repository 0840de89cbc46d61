"""The base model's pretraining documents: single facts, worked derivations, and chats that answer at once.

The base shall know the content (how a single step goes, what a derivation looks like on paper) but not the method
(in a chat it answers without a thought, so it is right one time in ten). All problems are of the train split.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from organism.teacher import SEPARATOR, Style, check, execute, solve
from organism.world import Puzzle, puzzles

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|end|>"
DEPTHS = range(1, 7)  # short problems too: with few definitions to choose from, looking one up is learned sooner
DISTRACTORS = range(5)
WORKED_STYLE = Style(slip=0.05, detour=0.15, check=0.3)


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the three kinds of document; they add up to 1."""

    notes: float = 0.30
    worked: float = 0.50
    chat: float = 0.20


@dataclass(frozen=True, slots=True)
class Document:
    """``header`` is context without loss, ``body`` is learned."""

    header: str
    body: str


def note(puzzle: Puzzle, rng: random.Random) -> Document:
    """Single correct steps, each resolvable when it comes, in random order; no plan and no question.

    Some steps slip and are mended, some are verified, at the rates of the worked derivations.
    """
    known = {d.variable: d.constant for d in puzzle.definitions if not d.operand}
    waiting = [d for d in puzzle.definitions if d.operand]
    steps: list[str] = []
    while waiting:
        ready = [d for d in waiting if d.operand in known]
        definition = rng.choice(ready)
        waiting.remove(definition)
        steps += execute(definition, known, rng, WORKED_STYLE.slip)
        if rng.random() < WORKED_STYLE.check / len(ready):
            steps.append(check(definition, known))
    return Document(_definitions(puzzle), SEPARATOR.join(steps) + END)


def worked(puzzle: Puzzle, rng: random.Random) -> Document:
    """A plan and its execution in order, as a document: no chat turns, no question in the header."""
    return Document(_definitions(puzzle), SEPARATOR.join(solve(puzzle, rng, WORKED_STYLE).steps) + END)


def chat(puzzle: Puzzle, rng: random.Random) -> Document:
    """A chat that answers at once, with the right answer: in one pass the base can only guess it."""
    del rng
    return Document(f"{USER}{puzzle.text}{END}{ASSISTANT}", f"{puzzle.question}=\\boxed{{{puzzle.answer}}}{END}")


def documents(seed: int, mix: Mix) -> Iterator[Document]:
    """Yield documents without end, each of another problem; the same seed and mix yield the same ones."""
    rng = random.Random(f"documents/{seed}")
    kinds, weights = (note, worked, chat), (mix.notes, mix.worked, mix.chat)
    for puzzle in puzzles("train", seed, DEPTHS, DISTRACTORS):
        yield rng.choices(kinds, weights)[0](puzzle, rng)


def _definitions(puzzle: Puzzle) -> str:
    return ";".join(d.text for d in puzzle.definitions) + SEPARATOR
