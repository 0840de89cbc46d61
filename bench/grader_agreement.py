"""How often our grader agrees with published grades: ``python -m bench.grader_agreement [--data ../shared/data]``.

Grades the published completions against the benchmarks' own gold answers (minerva_math: against the published gold,
which that harness has stripped of units and sometimes of more). Prints agreement and both accuracies, and lists every
disagreement in grader_agreement.csv. The column `judgement` there says who is right after reading problem, answers and
gold: ours, theirs or unclear; it is kept for rows that are still disagreements, and is empty for new ones.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from evaluate.grade import grade_texts

TABLE = Path(__file__).with_name("grader_agreement.csv")
KEY = ("benchmark", "model", "arm", "index")
FIELDS = (*KEY, "gold", "extracted", "ours", "published", "published_prediction", "judgement", "note")
TARGETS = {"aime24": 99.8, "amc23": 100.0, "math500": 99.0, "olympiadbench": 96.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    rows = read_published(arguments.data)
    texts = [row["completion"] for row in rows]
    scores = grade_texts([row["gold"] for row in rows], texts, [False] * len(rows), "math", arguments.workers)
    for row, score in zip(rows, scores, strict=True):
        row |= {"ours": score.reason, "extracted": score.extracted, "correct": score.correct}
    print_agreement(rows)
    print_accuracies(rows, arguments.data)
    disagreements = [row for row in rows if bool(row["correct"]) != row["published_correct"]]
    print_judgements(write_table(disagreements))


def read_published(data: Path) -> list[dict[str, Any]]:
    """The published completions, each with the gold answers of its benchmark."""
    rows = pq.read_table(data / "published" / "completions.parquet").to_pylist()
    golds = {name: pq.read_table(data / "benchmarks" / f"{name}.parquet")["answers"].to_pylist() for name in TARGETS}
    for row in rows:
        own = golds.get(row["benchmark"])
        row["gold"] = tuple(own[row["index"]]) if own else (row["answer"],)
    return rows


def print_agreement(rows: list[dict[str, Any]]) -> None:
    print("benchmark        n  agree  target")
    for name, total in Counter(row["benchmark"] for row in rows).items():
        agreed = sum(row["benchmark"] == name and bool(row["correct"]) == row["published_correct"] for row in rows)
        print(f"{name:13} {total:4}  {100 * agreed / total:5.1f}  {TARGETS.get(name, '')}")


def print_accuracies(rows: list[dict[str, Any]], data: Path) -> None:
    with (data / "published" / "metrics.csv").open(newline="") as file:
        reported = {(r["model"], r["arm"], r["benchmark"]): float(r["acc"]) for r in csv.DictReader(file)}
    print("\nmodel        arm            benchmark      ours  reported  not graded")
    cells = Counter((row["model"], row["arm"], row["benchmark"]) for row in rows)
    for cell in sorted(cells):
        own = [row["correct"] for row in rows if (row["model"], row["arm"], row["benchmark"]) == cell]
        graded = [verdict for verdict in own if verdict is not None]
        ours = 100 * sum(graded) / len(graded)
        print(f"{cell[0]:12} {cell[1]:14} {cell[2]:13} {ours:5.1f}  {reported[cell]:8.1f}  {len(own) - len(graded)}")


def write_table(disagreements: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Write the disagreements, with the judgements of the table as it was."""
    judged: dict[tuple[str, ...], dict[str, str]] = {}
    if TABLE.exists():
        with TABLE.open(newline="", encoding="utf-8") as file:
            judged = {tuple(row[key] for key in KEY): row for row in csv.DictReader(file)}
    rows: list[dict[str, str]] = []
    for found in disagreements:
        key = tuple(str(found[name]) for name in KEY)
        before = judged.get(key, {"judgement": "", "note": ""})
        rows.append(
            dict(zip(KEY, key, strict=True))
            | {
                "gold": "; ".join(found["gold"]),
                "extracted": found["extracted"] or "",
                "ours": found["ours"],
                "published": "correct" if found["published_correct"] else "incorrect",
                "published_prediction": found["published_prediction"] or "",
                "judgement": before["judgement"],
                "note": before["note"],
            }
        )
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["benchmark"], int(row["index"]), row["model"])))
    return rows


def print_judgements(rows: list[dict[str, str]]) -> None:
    print(f"\n{len(rows)} disagreements, listed in {TABLE.name}; who is right, by reading:")
    for name in sorted({row["benchmark"] for row in rows}):
        counts = Counter(row["judgement"] or "not judged" for row in rows if row["benchmark"] == name)
        print(f"{name:13} " + ", ".join(f"{judgement} {count}" for judgement, count in counts.most_common()))


if __name__ == "__main__":
    main()
