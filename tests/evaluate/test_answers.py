"""Finding and comparing answers as text."""

from __future__ import annotations

from fractions import Fraction

import pytest

from evaluate.answers import compare, find_answer, find_answers, normalise, number, split_parts, within_limits


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{3}, no, \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{4} and then \boxed{never closed", "4"),
        (r"only \boxed{never closed", None),
        ("The final answer is $\\frac{3}{4}$. I hope so.", r"\frac{3}{4}"),
        ("Thus the answer is: 12.\nGoodbye", "12"),
        ("Therefore, $\\frac{9}{2}$ as a decimal is $4.5$.", "4.5"),
        ("We get 3 apples and 1,250 pears in all", "1,250"),
        ("no answer here", None),
        ("", None),
        (r"\boxed{}", ""),
    ],
)
def test_find_answer(text: str, answer: str | None) -> None:
    assert find_answer(text) == answer


def test_a_completion_cut_off_has_an_answer_only_in_a_box() -> None:
    assert find_answer("the answer is 4, wait, for k=3,", cut_off=True) is None
    assert find_answer(r"\boxed{4}, wait, for k=3,", cut_off=True) == "4"


def test_boxes_of_the_last_paragraph_count_together_where_several_answers_are_due() -> None:
    text = "Try \\boxed{9}.\n\nSo x is \\boxed{1} or \\boxed{2}."
    assert find_answers(text, 2) == "1, 2"
    assert find_answers(text, 3) == "2"
    assert find_answers(r"\boxed{1, 2}", 2) == "1, 2"


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("12", "12.0", True),
        ("025", "25", True),
        (r"\frac{1}{2}", "0.5", True),
        (r"\dfrac12", "1/2", True),
        ("1,250", "1250", True),
        (r"11,\! 111,\! 100", "11111100", True),
        (r"\$78", "78", True),
        (r"90^\circ", "90", True),
        (r"12^{\mathrm{th}} \text{ grade}", "12", True),
        (r"\frac{600}{7} \mathrm{~km} / \mathrm{h}", r"\frac{600}{7}", True),
        (r"5 \text{ m}^2", "5", True),
        (r"\text{east}", "east", True),
        ("1e-5", "0.00001", True),
        ("(1,1006),(3,331)", "(1, 1006), (3, 331)", True),
        ("13", "12", False),
        ("100", "1", False),
        (r"1 \text{ and } 36", "1", None),
        ("x^2", "x^3", None),
        ("1, 2", "1", None),
    ],
)
def test_compare(left: str, right: str, same: bool | None) -> None:
    assert compare(left, right) is same
    assert compare(right, left) is same


def test_number_reads_nothing_but_plain_numbers() -> None:
    assert number("-3.5") == Fraction(-7, 2)
    assert [number(text) for text in ("1/0", r"\frac{1}{0}", "x", "", "1e999", "9" * 2000)] == [None] * 6


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ("1,3,5", ["1", "3", "5"]),
        ("$69$,$84$", ["69", "84"]),
        ("(1,2), (3,4)", ["(1,2)", "(3,4)"]),
        (r"7 \text{ and } -5", ["7", "-5"]),
        ("4 or 8", ["4", "8"]),
        ("1,250", ["1250"]),
        (r"\left(3, \frac{\pi}{2}\right)", [r"\left(3, \frac{\pi}{2}\right)"]),
        ("1; 2", ["1", "2"]),
    ],
)
def test_split_parts(answer: str, parts: list[str]) -> None:
    assert split_parts(answer) == parts


def test_limits() -> None:
    assert within_limits(r"\frac{1}{2}")
    assert not within_limits("1" * 1001)
    assert not within_limits("(" * 31)
    assert not within_limits(r"\frac{1}{2")
    assert within_limits(r"[0, 1) \cup \{2\}")


def test_normalise_drops_control_characters() -> None:
    assert normalise("\x00 4\x00 2 .") == "42"
