"""`python -m analysis RUNS... --baseline none --out DIR`: tables and figures from runs, or from a file of scores.

Exit status: 0; 2 if the runs or scores cannot be compared, with the reason in one line.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from analysis import delta, dose, render, tables
from analysis.delta import Row
from analysis.foreign import load_file
from analysis.load import Scores, load_runs
from analysis.steps import step_counts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        scores = load_file(options.scores) if options.scores else load_runs(options.runs)
        rows = delta.compare(scores, options.baseline, options.interval)
        shown = write(scores, rows, options.baseline, options.out)
        print("\n".join([*shown, f"written to {options.out}"]), flush=True)
    except (ValueError, OSError) as error:
        print(f"python -m analysis: {error}", file=sys.stderr)
        return 2
    return 0


def write(scores: Scores, rows: Sequence[Row], baseline: str, out: Path) -> list[str]:
    """Write delta.csv, delta.md, delta.tex and figures into a folder; dose.* too where a perturbation has several
    doses.

    Returns:
        The headline table of each model, for the terminal.

    Raises:
        OSError: a file cannot be written.
    """
    from analysis import figures  # matplotlib takes a second to import: not before the input is known to be good

    out.mkdir(parents=True, exist_ok=True)
    steps = step_counts(scores.table)
    _write_tables(out, "delta", delta.to_frame(rows), tables.delta_tables(rows, steps, baseline))
    slopes = dose.slopes(scores, baseline)
    models = list(dict.fromkeys(row.model for row in rows))
    by_model = [[slope for slope in slopes if slope.model == model] for model in models]
    if slopes:
        _write_tables(out, "dose", dose.to_frame(slopes), [dose.dose_table(own) for own in by_model if own])
    headlines: list[str] = []
    for model, sloped in zip(models, by_model, strict=True):
        own = [row for row in rows if row.model == model]
        headline = [row for row in own if row.benchmark == tables.benchmarks(own)[0]]
        suffix = "" if len(models) == 1 else "-" + model.replace("/", "_")
        drawn: dict[str, Figure] = {}
        if any(row.test for row in headline):
            drawn["forest"] = figures.forest(headline, baseline)
        if sloped:
            drawn["dose"] = figures.dose_response(headline, baseline)
        for name, figure in drawn.items():
            for ending in ("png", "svg", "pdf"):
                figures.save(figure, out / f"{name}{suffix}.{ending}")
        headlines.append(render.terminal(tables.delta_tables(own, steps, baseline)[0]))
    return headlines


def _write_tables(out: Path, name: str, frame: pd.DataFrame, shown: Sequence[render.Table]) -> None:
    _write(out / f"{name}.csv", frame.to_csv(index=False))
    _write(out / f"{name}.md", "\n".join(map(render.markdown, shown)))
    _write(out / f"{name}.tex", "\n".join(map(render.latex, shown)))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="Tables and figures from runs, or from a file of scores."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "runs", nargs="*", type=Path, default=[], metavar="RUNS", help="record.json files, or folders searched for them"
    )
    source.add_argument(
        "--scores", type=Path, help="parquet or CSV with model, arm, benchmark, problem or index, sample, correct"
    )
    parser.add_argument("--baseline", default="none", metavar="ARM", help="arm the differences are taken to (none)")
    parser.add_argument(
        "--interval", choices=("t", "bootstrap"), default="t", help="interval of Δ: Student's t (default)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("results"), metavar="DIR", help="folder for tables and figures (results)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
