"""The paper's tables against themselves and against the outputs its authors published."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis import published

DATA = Path(__file__).parents[3] / "shared" / "data" / "published"


@pytest.mark.parametrize(
    ("arm", "points"),
    [
        ("base", -12.1),
        ("wrong_answers", -3.2),
        ("keywords_100", -3.4),
        ("digits_50", -2.1),
        ("shuffle_67", -9.1),
        ("delete_100", -16.8),
        ("insert_100", -21.8),
        ("none", 0.0),
    ],
)
def test_delta_of_the_average(arm: str, points: float) -> None:
    assert published.delta(arm) == pytest.approx(points, abs=0.051)


def test_delta_of_one_benchmark_and_of_what_the_paper_lacks() -> None:
    assert published.delta("wrong_answers", "aime24") == pytest.approx(-10.0)
    assert published.delta("none", "math500", baseline="base") == pytest.approx(4.4)
    assert published.delta("shuffle_50") is None
    assert published.delta("none", "gsm8k") is None
    assert published.delta("none", baseline="shuffle_50") is None


def test_printed_averages_follow_from_the_rows_but_for_the_untrained_model() -> None:
    wrong = {
        arm
        for arm, printed in published.TABLE_2_PRINTED_AVERAGE.items()
        if abs(published.average(arm) - printed) > 0.051
    }
    assert wrong == {"base"}
    assert published.TABLE_2_PRINTED_AVERAGE.keys() == published.TABLE_2.keys()


def test_tables_agree_where_they_state_the_same() -> None:
    assert published.TABLE_1["base"][:4] == published.TABLE_2["base"]
    for arm in ("base", "none"):
        by_benchmark = dict(zip(published.BENCHMARKS, published.TABLE_2[arm], strict=True))
        assert {name: row[2] for name, row in published.TABLE_4[arm].items()} == by_benchmark


def test_table_2_agrees_with_the_accuracies_published_with_the_outputs() -> None:
    if not DATA.is_dir():
        pytest.skip(f"the published outputs are not at {DATA}")
    metrics = pd.read_csv(DATA / "metrics.csv")
    checked = 0
    for row in metrics[metrics["model"] == "qwen2.5-32b"].itertuples():
        if row.arm in published.TABLE_2 and row.benchmark in published.BENCHMARKS:
            column = published.BENCHMARKS.index(row.benchmark)
            assert published.TABLE_2[row.arm][column] == row.acc, (row.arm, row.benchmark)
            checked += 1
    assert checked >= 12
