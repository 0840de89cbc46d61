"""Measures of completions besides correctness."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from evaluate.measure import count_keywords, measure, tail_ratio, well_formed

FORMED = (
    "<|begin_of_thought|>Wait, 2+2=4. But Waiting? wait<|end_of_thought|>"
    "<|begin_of_solution|>\\boxed{5}<|end_of_solution|>"
)


def test_confidently_wrong_needs_an_ended_well_formed_wrong_completion() -> None:
    def confident(text: str, reason: str, correct: bool | None) -> bool | None:
        return measure(text, reason, correct, ()).confidently_wrong  # type: ignore[arg-type]

    assert confident(FORMED, "stop", False) is True
    assert confident(FORMED, "stop", True) is False
    assert confident(FORMED, "length", False) is False
    assert confident("5", "stop", False) is False
    assert confident(FORMED, "stop", None) is None


def test_format() -> None:
    assert well_formed(FORMED)
    assert not well_formed(FORMED.replace("<|end_of_thought|>", ""))
    assert not well_formed(FORMED + "<|end_of_solution|>")
    assert not well_formed("<|end_of_thought|>" + FORMED.replace("<|end_of_thought|>", ""))


def test_keywords_are_whole_words_in_the_case_given() -> None:
    assert count_keywords(FORMED, ("Wait", "But", "Let me check")) == 2
    assert count_keywords("Let me check. Let me", ("Let me", "Let me check")) == 2
    assert count_keywords(FORMED, ()) == 0


def test_short_texts_are_not_judged_for_loops() -> None:
    assert tail_ratio("a" * 999) is None
    assert measure("a" * 5000, "length", False, ()).looping is True


def test_loops_in_published_outputs(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "published" / "completions.parquet").to_pylist()
    texts = [row["completion"] for row in table if row["benchmark"] == "aime24" and row["model"] == "qwen2.5-32b"]
    finished = [measure(text, "stop", None, ()).looping for text in texts if "\\boxed{" in text]
    unfinished = [
        measure(text, "length", None, ()).looping for text in texts if "\\boxed{" not in text and len(text) > 1000
    ]
    assert sum(looping is True for looping in finished) <= 0.01 * len(finished)
    assert sum(looping is True for looping in unfinished) >= 0.6 * len(unfinished)
