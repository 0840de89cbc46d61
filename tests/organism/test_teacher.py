from __future__ import annotations

import random
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from organism.check import check_trace
from organism.corpus import demonstrations
from organism.teacher import Style, solve
from organism.tokenizer import VOCABULARY, build
from organism.world import draw_puzzle, puzzles
from perturbations.demonstration import parse_response


@given(st.integers(0, 10**6), st.booleans())
def test_the_teacher_is_right_unless_told_to_be_wrong(seed: int, wrong: bool):
    rng = random.Random(seed)
    puzzle = draw_puzzle(rng)
    trace = solve(puzzle, rng, wrong=wrong)
    assert (trace.answer == puzzle.answer) != wrong


@given(st.integers(0, 10**6), st.booleans())
def test_every_step_of_the_teacher_follows_and_only_slips_are_wrong(seed: int, wrong: bool):
    rng = random.Random(seed)
    puzzle = draw_puzzle(rng)
    trace = solve(puzzle, rng, wrong=wrong)
    check = check_trace(puzzle.text, trace.response(puzzle.question))
    mended = sum(step.startswith("Wait, ") and "check" not in step for step in trace.steps)
    assert check.steps == len(trace.steps) == check.follow
    assert check.steps - check.right == mended + wrong


def test_slips_detours_and_checks_come_as_often_as_the_style_says():
    rng = random.Random(1)
    style = Style(slip=0.5, detour=0.25, check=0.75)
    traces = [solve(puzzle, rng, style) for puzzle in islice(puzzles("train", 9), 2000)]
    steps = [step for trace in traces for step in trace.steps]
    operations = sum(len(puzzle.chain) - 1 for puzzle in islice(puzzles("train", 9), 2000))
    slips = sum(step.startswith("Wait, ") and "check" not in step for step in steps)
    assert abs(slips / operations - 0.5) < 0.03
    assert abs(sum(step.startswith("Alternatively") for step in steps) / 2000 - 0.25) < 0.03
    assert abs(sum("check" in step for step in steps) / 2000 - 0.75) < 0.03


def test_demonstrations_parse_and_pair_right_with_wrong():
    made = demonstrations(200, seed=4)
    assert len(made) == 400
    for right, wrong in zip(made[::2], made[1::2], strict=True):
        assert right.problem_id == wrong.problem_id and right.id != wrong.id
        assert (right.correct, wrong.correct) == (True, False)
        assert right.answer != wrong.answer
        for one in (right, wrong):
            parts = parse_response(one.response)
            assert parts.thought == one.thought
            assert f"\\boxed{{{one.answer}}}" in parts.solution


def test_the_tokenizer_loses_nothing_of_any_demonstration():
    tokenizer = build()
    unknown = VOCABULARY["<|unknown|>"]
    for one in demonstrations(100, seed=0):
        ids = tokenizer.encode(one.response).ids
        assert unknown not in ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == one.response
