"""How far checkpoints of one run lie apart, beside the Δ that the paper reads from one of them.

    python -m analysis.spread completions.parquet

The authors published outputs of eleven checkpoints of the run on intact traces (arms `none_step21` ... `none_step140`).
Whatever differs between neighbouring checkpoints is neither structure nor content: a Δ of that size needs another
explanation than the perturbation before it needs that one.

Exit status: 0; 2 if there are no checkpoints, with the reason in one line.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np

from analysis import arms, published
from analysis.cells import Cell, cells
from analysis.clusters import Floats, estimate
from analysis.foreign import load_file
from analysis.load import Scores
from analysis.render import NOTHING, Table, terminal
from analysis.tables import signed

_CHECKPOINT = re.compile(r"none_step(\d+)")


@dataclass(frozen=True, slots=True)
class Spread:
    """Checkpoints of one run on one benchmark; accuracies in percent."""

    model: str
    benchmark: str
    n_problems: int
    accuracies: dict[int, float]
    """Step -> accuracy, steps ascending."""
    per_problem: Floats
    """Share of the checkpoints that answer each problem right, 0..1."""
    others: dict[str, Cell]
    """Other arms with outputs for the same problems."""

    @property
    def mean(self) -> float:
        """Mean accuracy of the checkpoints."""
        return float(np.mean(list(self.accuracies.values())))

    @property
    def deviation(self) -> float:
        """Standard deviation of a checkpoint's accuracy."""
        return float(np.std(list(self.accuracies.values()), ddof=1))


def spreads(scores: Scores) -> list[Spread]:
    """The spread of every model and benchmark of which there are at least two checkpoints.

    Raises:
        ValueError: there are none, or checkpoints did not answer the same problems.
    """
    found = cells(scores.table)
    groups: dict[tuple[str, str], dict[int, Cell]] = {}
    for (model, arm, benchmark), cell in found.items():
        if step := _CHECKPOINT.fullmatch(arm):
            if cell.gap or cell.ungraded:
                raise ValueError(f"{model}, {arm}, {benchmark} {cell.gap or 'has completions without a grade'}")
            groups.setdefault((model, benchmark), {})[int(step[1])] = cell
    groups = {key: steps for key, steps in groups.items() if len(steps) > 1}
    if not groups:
        raise ValueError("there are no arms none_stepN, the checkpoints of one run")
    result: list[Spread] = []
    for (model, benchmark), steps in groups.items():
        means = {step: steps[step].means.mean(axis=0) for step in sorted(steps)}
        others = {
            arm: cell
            for (of, arm, on), cell in found.items()
            if (of, on) == (model, benchmark) and not _CHECKPOINT.fullmatch(arm) and not (cell.gap or cell.ungraded)
        }
        accuracies = {step: 100 * float(values.mean()) for step, values in means.items()}
        per_problem: Floats = np.mean(list(means.values()), axis=0)
        result.append(Spread(model, benchmark, len(per_problem), accuracies, per_problem, others))
    return result


def checkpoint_table(spread: Spread) -> Table:
    """A column for each checkpoint."""
    values = list(spread.accuracies.values())
    return Table(
        title=f"{spread.model}, {spread.benchmark}: checkpoints of one run, accuracy in percent",
        header=("Step", *map(str, spread.accuracies), "mean", "sd"),
        blocks=(("", (("", *(f"{value:.1f}" for value in values), f"{spread.mean:.1f}", f"{spread.deviation:.1f}"),)),),
        notes=(
            f"{spread.n_problems} problems, one sample each: one problem is {100 / spread.n_problems:.1f} points. "
            f"From {min(values):.1f} to {max(values):.1f}.",
        ),
    )


def delta_table(spread: Spread) -> Table:
    """The paper's Δ of every arm, and what it would have been against the other checkpoints."""
    values = list(spread.accuracies.values())
    lowest, highest = min(values), max(values)
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for arm in arms.order((arm, "") for arm in published.TABLE_2 if arm != "none"):
        theirs = published.delta(arm, spread.benchmark)
        if theirs is None:
            continue
        accuracy = published.TABLE_2[arm][published.BENCHMARKS.index(spread.benchmark)]
        paired, low, high = _paired(spread, arm)
        interval = NOTHING if np.isnan(low) else f"{signed(paired)} [{signed(low)}, {signed(high)}]"
        below = sum(value < accuracy - 0.05 for value in values)
        cells_of = (
            signed(theirs),
            signed(accuracy - spread.mean),
            f"{signed(accuracy - highest)} … {signed(accuracy - lowest)}",
            f"{below} of {len(values)}",
            interval,
        )
        blocks.setdefault(arms.HEADINGS[arms.family(arm)], []).append((arm, *cells_of))
    return Table(
        title=f"{spread.benchmark}: the paper's Δ, read from one checkpoint, against all of them, in points",
        header=("Arm", "Published Δ", "Δ to mean", "Δ to highest … lowest", "Checkpoints below", "Paired Δ to mean"),
        blocks=tuple((name, tuple(rows)) for name, rows in blocks.items()),
        notes=(
            "Published Δ: to the run on intact traces as the paper's Table 2 prints it. Checkpoints below: those less "
            "accurate than the arm. Paired Δ: problem by problem from the outputs, where there are any, with its 95 % "
            "interval over problems.",
        ),
    )


def _paired(spread: Spread, arm: str) -> tuple[float, float, float]:
    """Δ of an arm's outputs to the checkpoints' mean, with its interval; NaN where there are no outputs."""
    cell = spread.others.get(arm)
    if cell is None or cell.means.shape[1] != spread.n_problems:
        return nan, nan, nan
    found = estimate([cell.means.mean(axis=0, keepdims=True) - spread.per_problem], [1.0])
    return 100 * found.mean, 100 * found.low, 100 * found.high


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.spread", description="Spread of the checkpoints of one run beside the paper's Δ."
    )
    parser.add_argument("scores", type=Path, help="parquet or CSV with arms none_stepN")
    try:
        for spread in spreads(load_file(parser.parse_args(arguments).scores)):
            print(terminal(checkpoint_table(spread), 120))
            if spread.benchmark in published.BENCHMARKS:
                print(terminal(delta_table(spread), 120), flush=True)
    except (ValueError, OSError) as error:
        print(f"python -m analysis.spread: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
