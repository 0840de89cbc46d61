from __future__ import annotations

import pytest

from perturbations.demonstration import RejectedError, boxed_spans, parse_response
from tests.perturbations.conftest import make


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "<|begin_of_thought|>\n\nA\n\nB \n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\nS\n<|end_of_solution|>",
            (
                "<|begin_of_thought|>\n\n",
                "A\n\nB",
                " \n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n",
                "S",
                "\n<|end_of_solution|>",
            ),
        ),
        (
            "<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>S<|end_of_solution|>",
            ("<|begin_of_thought|>", "A", "<|end_of_thought|><|begin_of_solution|>", "S", "<|end_of_solution|>"),
        ),
        ("<think>\nA\n</think>\n\nS\n", ("<think>\n", "A", "\n</think>\n\n", "S", "\n")),
        (
            "<think>see <|begin_of_thought|> here</think>S",
            ("<think>", "see <|begin_of_thought|> here", "</think>", "S", ""),
        ),
    ],
)
def test_a_response_is_cut_without_loss(text: str, parts: tuple[str, ...]) -> None:
    assert tuple(parse_response(text)) == parts
    assert "".join(parts) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("just text \\boxed{1}", "no_thought"),
        ("<think>A", "no_end"),
        ("<|begin_of_thought|>A<|end_of_thought|><|begin_of_solution|>S", "no_end"),
        ("<think>A</think>B</think>C", "repeated_tag"),
        ("<think>A<think>B</think>C", "repeated_tag"),
        ("<think> \n </think>S", "empty_thought"),
        ("<think>A</think> \n", "no_solution"),
        ("</think>A<think>B", "misplaced_tag"),
        ("<|begin_of_thought|>A<|end_of_thought|> x <|begin_of_solution|>S<|end_of_solution|>", "misplaced_tag"),
    ],
)
def test_a_response_that_cannot_be_cut_says_why(text: str, reason: str) -> None:
    with pytest.raises(RejectedError) as caught:
        parse_response(text)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("text", "contents"),
    [
        (r"\boxed{1} and \boxed{\frac{1}{2}}", ["1", r"\frac{1}{2}"]),
        (r"\boxed{a\}b}", [r"a\}b"]),
        (r"\boxed{1", []),
        (r"\boxed {\boxed{2}}", [r"\boxed{2}"]),
        ("none", []),
    ],
)
def test_boxes_are_found_with_their_braces_balanced(text: str, contents: list[str]) -> None:
    assert [text[start:stop] for start, stop in boxed_spans(text)] == contents


def test_without_steps_the_solution_is_left_alone() -> None:
    sky = make("A\n\nB").with_steps(())
    assert sky.response == "<|begin_of_solution|>So the answer is \\boxed{7}<|end_of_solution|>"
