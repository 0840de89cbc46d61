from __future__ import annotations

import json
from pathlib import Path

import pytest

from perturbations.demonstration import Demonstration, RejectedError
from perturbations.segment import SEGMENTERS, group, paragraphs, reflections
from perturbations.segment_llm import parse_answer, prompt_for, prompt_lines, read_answers, steps_of_answer
from tests.perturbations.conftest import joined, make

HOSTILE = [
    "",
    "\n\n",
    " \n\n x",
    "a\r\n\r\nb\r\n \r\nc",
    "a\n \t\nb",
    "```\nx\n\ny\n```",
    "x" * 1_000_000,
    "a\n\n\n\n\nb\n\n",
]


@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize("thought", HOSTILE)
def test_steps_join_to_the_thought(segmenter: str, thought: str) -> None:
    assert joined(SEGMENTERS[segmenter](thought)) == thought


def test_real_steps_join_to_the_thought(corpus: list[Demonstration]) -> None:
    for one in corpus:
        for segment in SEGMENTERS.values():
            assert joined(segment(one.thought)) == one.thought


def test_a_paragraph_ends_at_a_blank_line_and_keeps_its_indentation() -> None:
    assert [step.text for step in paragraphs("a\n  b\n \n  c\r\n\r\nd")] == ["a\n  b", "  c", "d"]


def test_a_reflection_step_begins_where_the_thought_turns() -> None:
    texts = [
        "The sum is 12.",
        "That gives 4.",
        "Wait, that can't be right.",
        "It must be 5.",
        "Alternatively, use a formula.",
        "So 5 again.",
        "Let me double-check with 3.",
        "Okay, but maybe I should try another way.",
        "Therefore 5.",
    ]
    steps = reflections("\n\n".join(texts))
    assert [step.text.split("\n\n")[0] for step in steps] == [texts[i] for i in (0, 2, 4, 6, 7)]


@pytest.mark.parametrize("starts", [[], [1], [0, 0], [0, 2, 1], [0, 3]])
def test_grouping_refuses_starts_that_are_none(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="starts"):
        group(paragraphs("a\n\nb\n\nc"), starts)


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("[1, 4, 9]", [0, 3, 8]),
        ("The steps begin at [2, 3]? No, final answer:\n[1,\n 3]", [0, 2]),
        ("```json\n[1]\n```", [0]),
    ],
)
def test_an_answer_of_the_model_is_read(text: str, starts: list[int]) -> None:
    assert parse_answer(text, 9) == starts


@pytest.mark.parametrize(
    "text", ["", "none", "[]", "[2, 3]", "[1, 3, 2]", "[1, 1]", "[1, 10]", "1, 4, 9", "[1, 4", "[1.5]"]
)
def test_a_bad_answer_of_the_model_is_a_reject(text: str) -> None:
    with pytest.raises(RejectedError) as caught:
        parse_answer(text, 9)
    assert caught.value.reason == "bad_segmentation"


def test_the_model_cannot_change_the_text(tmp_path: Path) -> None:
    one = make("First.\n\nSecond {paragraphs}.\n\nWait.")
    assert "[2] Second {paragraphs}.\n\n[3] Wait." in prompt_for(one.thought)
    assert json.loads(next(prompt_lines([one])))["problem_id"] == one.id
    recorded = tmp_path / "completions.jsonl"
    recorded.write_text(json.dumps({"problem_id": one.id, "sample": 0, "text": "[1, 3]"}) + "\n")
    steps = steps_of_answer(one.thought, one.id, read_answers(recorded))
    assert [step.text for step in steps] == ["First.\n\nSecond {paragraphs}.", "Wait."]
    assert joined(steps) == one.thought
    with pytest.raises(RejectedError) as caught:
        steps_of_answer(one.thought, "other", {})
    assert caught.value.reason == "no_segmentation"
    recorded.write_text('{"text": "[1]"}\n')
    with pytest.raises(ValueError, match="line 1"):
        read_answers(recorded)
