"""Steps found by a language model, the paper's way, but unable to change the text.

The model is shown the numbered paragraphs of a thought and answers with the numbers at which a step begins. The prompts
go through the same generation worker as everything else; its answers come back as a file of JSON lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from perturbations.demonstration import Demonstration, RejectedError
from perturbations.segment import group, paragraphs
from perturbations.steps import Steps

PROMPT = """\
Below is a chain of thought, cut into numbered paragraphs. Group the paragraphs into reasoning steps.

A new step begins where the line of thought breaks: where it backtracks, checks or validates itself, reflects on what \
was done, takes another approach, or turns to another part of the problem. Paragraphs that simply continue belong to \
the step before them.

{paragraphs}

Answer with one JSON list of the paragraph numbers at which a step begins, in increasing order, beginning with 1, and \
with nothing else. Example: [1, 4, 9]"""


def prompt_for(thought: str) -> str:
    """The prompt that asks where the steps of `thought` begin; paragraphs are numbered from 1."""
    numbered = [f"[{number}] {text}" for number, text in enumerate(paragraphs(thought).texts, 1)]
    return PROMPT.replace("{paragraphs}", "\n\n".join(numbered))


def prompt_lines(demonstrations: Iterable[Demonstration]) -> Iterator[str]:
    """JSON lines `{"problem_id", "prompt"}` for the generation worker; the problem's id is the demonstration's."""
    for one in demonstrations:
        yield json.dumps({"problem_id": one.id, "prompt": prompt_for(one.thought)}, ensure_ascii=False) + "\n"


_LIST = re.compile(r"\[[\d,\s]*\]")


def parse_answer(text: str, n_paragraphs: int) -> list[int]:
    """Reads the model's answer.

    Args:
        text: what the model wrote; the last list of integers in it counts, so that thinking aloud does no harm.
        n_paragraphs: of the thought.

    Returns:
        Indices from 0 at which a step begins, increasing, the first 0.

    Raises:
        RejectedError: reason `bad_segmentation`: no list, a number out of range, out of order or twice, or no 1.
    """
    lists = _LIST.findall(text)
    numbers = [int(number) for number in re.findall(r"\d+", lists[-1])] if lists else []
    problem = None
    if not numbers:
        problem = "no list of numbers"
    elif numbers[0] != 1:
        problem = f"the list begins with {numbers[0]}, not with 1"
    elif any(b <= a for a, b in pairwise(numbers)):
        problem = "the numbers do not increase"
    elif numbers[-1] > n_paragraphs:
        problem = f"{numbers[-1]} is beyond the last paragraph, {n_paragraphs}"
    if problem:
        raise RejectedError("bad_segmentation", f"{problem}: {text[-200:]!r}")
    return [number - 1 for number in numbers]


def read_answers(path: Path) -> dict[str, str]:
    """Recorded answers by demonstration id.

    Args:
        path: JSON lines with `problem_id` and `text`, as the generation worker writes them.

    Raises:
        ValueError: a line is not of that form; names file and line.
    """
    answers: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            answers[row["problem_id"]] = row["text"]
        except (json.JSONDecodeError, TypeError, KeyError) as error:
            raise ValueError(
                f'data.llm_answers={path}, line {number}: want {{"problem_id": …, "text": …}}: {error}'
            ) from error
    return answers


def steps_of_answer(thought: str, demonstration_id: str, answers: dict[str, str]) -> Steps:
    """The steps a recorded answer cuts a thought into.

    Raises:
        RejectedError: there is no answer for this demonstration (`no_segmentation`), or a bad one.
    """
    if demonstration_id not in answers:
        raise RejectedError("no_segmentation", f"data.llm_answers has no answer for id {demonstration_id}")
    cut = paragraphs(thought)
    return group(cut, parse_answer(answers[demonstration_id], len(cut)))
