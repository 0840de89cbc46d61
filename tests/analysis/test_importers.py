"""Logs of other harnesses, in the shapes their versions write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.importers import load_logs


def inspect_log(path: Path, values: list[Any], status: str = "success", scorers: tuple[str, ...] = ("match",)) -> Path:
    samples = [
        {
            "id": number // 2 + 1,
            "epoch": number % 2 + 1,
            "scores": {name: {"value": value, "answer": "4"} for name in scorers},
            "output": {"choices": [{"stop_reason": "max_tokens" if number else "stop"}], "usage": {"output_tokens": 9}},
        }
        for number, value in enumerate(values)
    ]
    log = {"version": 2, "status": status, "eval": {"task": "aime24", "model": "hf/m"}, "samples": samples}
    path.write_text(json.dumps(log))
    return path


def test_inspect(tmp_path: Path) -> None:
    path = inspect_log(tmp_path / "log.json", ["C", "I", 1.0, False])
    table = load_logs("inspect", [f"none={path}"]).table
    assert table["correct"].tolist() == [1, 0, 1, 0]
    assert table["problem_id"].tolist() == ["1", "1", "2", "2"]
    assert table["sample"].tolist() == [0, 1, 0, 1]
    assert table["finish_reason"].tolist() == ["stop", "length", "length", "length"]
    assert (table["tokens"].iloc[0], table["model"].iloc[0], table["benchmark"].iloc[0]) == (9, "hf/m", "aime24")


def lm_eval_lines(path: Path, filters: tuple[str, ...] = ("none",)) -> Path:
    lines = [
        {
            "doc_id": number,
            "filter": name,
            "metrics": ["exact_match"],
            "exact_match": float(number % 2),
            "resps": [["x"]],
        }
        for name in filters
        for number in range(4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_lm_eval(tmp_path: Path) -> None:
    lm_eval_lines(tmp_path / "samples_gsm8k_cot_2026-01-01T00-00-00.123.jsonl")
    table = load_logs("lm_eval", [f"none={tmp_path}"]).table
    assert table["correct"].tolist() == [0, 1, 0, 1]
    assert set(table["benchmark"]) == {"gsm8k_cot"}


def test_lm_eval_of_several_filters_needs_one_named(tmp_path: Path) -> None:
    path = lm_eval_lines(tmp_path / "samples_gsm8k.jsonl", ("strict-match", "flexible-extract"))
    with pytest.raises(ValueError, match="has the filters strict-match, flexible-extract; choose one"):
        load_logs("lm_eval", [f"none={path}"])
    assert len(load_logs("lm_eval", [f"none={path}"], "exact_match,strict-match").table) == 4


@pytest.mark.parametrize("column", ["__metric__", "metric", "metrics"])
def test_lighteval(tmp_path: Path, column: str) -> None:
    path = tmp_path / "details_lighteval|aime24|0_2026-01-01T00-00-00.000.parquet"
    pd.DataFrame({column: [{"extractive_match": 1}, {"extractive_match": 0}]}).to_parquet(path)
    table = load_logs("lighteval", [f"base={path}"]).table
    assert table["correct"].tolist() == [1, 0]
    assert set(table["benchmark"]) == {"aime24"}
    assert set(table["family"]) == {"baseline"}


@pytest.mark.parametrize(
    ("kind", "values", "options", "message"),
    [
        ("inspect", ["C"], {"status": "error"}, "ended with status error"),
        ("inspect", ["C"], {"scorers": ("match", "model")}, "has the metrics match, model; choose one with --metric"),
        ("inspect", ["B"], {}, "'B' is no grade; choose another scorer"),
        ("inspect", [3.0], {}, "problem 1: 3.0 is no grade in 0..1"),
    ],
)
def test_what_is_no_grade_is_refused(
    tmp_path: Path, kind: str, values: list[Any], options: dict[str, Any], message: str
) -> None:
    path = inspect_log(tmp_path / "log.json", values, **options)
    with pytest.raises(ValueError, match=message):
        load_logs(kind, [f"none={path}"])


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"without samples_\*\.jsonl"):
        load_logs("lm_eval", [f"none={tmp_path}"])
    with pytest.raises(ValueError, match="write ARM=PATH"):
        load_logs("lm_eval", [str(tmp_path)])


def test_from_logs_to_the_table(tmp_path: Path) -> None:
    none = inspect_log(tmp_path / "a.json", ["C", "C", "C", "C"])
    other = inspect_log(tmp_path / "b.json", ["C", "I", "I", "I"])
    out = tmp_path / "out"
    assert main(["--inspect", f"none={none}", f"shuffle_67={other}", "--out", str(out)]) == 0
    assert pd.read_csv(out / "delta.csv").set_index("arm").loc["shuffle_67", "delta"] == -75
