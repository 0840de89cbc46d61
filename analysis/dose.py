"""How Δ grows with the dose of a perturbation, and whether structure costs more than content for the same dose.

A perturbation's slope is the least-squares line through the origin (dose 0 is the baseline, Δ 0) of its arms' Δ on
the dose. It is a weighted sum of Δ, so it is taken problem by problem like a Δ, and its interval knows that all doses
share problems, seeds and baseline (clusters.py). A family's slope is the mean of its perturbations' slopes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd

from analysis import arms
from analysis.arms import Family
from analysis.cells import Cell, cells
from analysis.clusters import Floats, estimate
from analysis.delta import common_seeds
from analysis.load import Scores
from analysis.render import Table
from analysis.tables import p_text, signed

CONTRAST = "structure minus content"


@dataclass(frozen=True, slots=True)
class Slope:
    """Points of Δ per 100 % of dose."""

    model: str
    benchmark: str
    perturbation: str
    """Label without its dose; or `content`, `structure` (means of theirs), or `structure minus content`."""
    family: str
    doses: str
    """The doses it was fitted to, in percent."""
    n_problems: int
    seeds: int
    slope: float
    ci_low: float
    """95 % interval."""
    ci_high: float
    p_value: float
    """Of a slope of 0."""


def slopes(scores: Scores, baseline: str = "none") -> list[Slope]:
    """Slopes of all perturbations with at least two complete doses, on each benchmark the baseline answered.

    Arms with gaps and unfinished arms are left out, as are completions without a grade.
    """
    found = cells(scores.table)
    unfinished = {(run.model, run.arm) for run in scores.incomplete}
    result: list[Slope] = []
    for (model, arm, benchmark), against in found.items():
        if arm != baseline or against.gap or (model, arm) in unfinished:
            continue
        dosed: dict[str, dict[float, Cell]] = {}
        for cell in found.values():
            dose = arms.dose(cell.arm)
            usable = not cell.gap and (model, cell.arm) not in unfinished
            if dose and usable and (cell.model, cell.benchmark) == (model, benchmark):
                dosed.setdefault(dose[0], {})[dose[1]] = cell
        result += _of_benchmark({name: of for name, of in dosed.items() if len(of) > 1}, against)
    return result


def to_frame(found: Sequence[Slope]) -> pd.DataFrame:
    """One column per field of `Slope`, rounded to 6 decimals."""
    return pd.DataFrame([asdict(slope) for slope in found], columns=[field.name for field in fields(Slope)]).round(6)


def dose_table(found: Sequence[Slope]) -> Table:
    """The slopes of one model, a block for each benchmark."""
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for slope in found:
        interval = f"[{signed(slope.ci_low)}, {signed(slope.ci_high)}]"
        row = (
            slope.perturbation,
            slope.doses,
            signed(slope.slope),
            interval,
            str(slope.n_problems),
            p_text(slope.p_value),
        )
        blocks.setdefault(slope.benchmark, []).append(row)
    return Table(
        title=f"{found[0].model}: points of Δ per 100 % of dose",
        header=("Perturbation", "Doses %", "Slope", "95 % interval", "n", "p"),
        blocks=tuple((name, tuple(rows)) for name, rows in blocks.items()),
        notes=("Least-squares line through the baseline. A family's slope is their mean; p is not adjusted.",),
    )


def _of_benchmark(dosed: Mapping[str, Mapping[float, Cell]], against: Cell) -> list[Slope]:
    every = [cell for of in dosed.values() for cell in of.values()]
    seeds = common_seeds(every, [against])[0] if every else []
    if not seeds:
        return []
    theirs = against.at(seeds)
    # The same problems for every slope, so that slopes can be subtracted problem by problem.
    judged = ~np.isnan(sum((cell.at(seeds) for cell in every), start=theirs)).any(axis=0)
    if not judged.any():
        return []
    families: dict[str, str] = {name: _family(of) for name, of in dosed.items()}
    values: dict[str, Floats] = {}
    ordered = arms.order((cell.arm, cell.family) for cell in every)
    for name in dict.fromkeys(arm.rpartition("_")[0] for arm in ordered):
        differences = [dose * (cell.at(seeds) - theirs)[:, judged] for dose, cell in dosed[name].items()]
        values[name] = 100 * np.sum(differences, axis=0) / sum(dose**2 for dose in dosed[name])
    doses = {name: ", ".join(f"{dose:g}" for dose in sorted(of)) for name, of in dosed.items()}
    means: dict[str, Floats] = {}
    for family in ("content", "structure"):
        own = [value for name, value in values.items() if families[name] == family]
        if own:
            means[family] = np.mean(own, axis=0)
    if len(means) == 2:
        means[CONTRAST] = means["structure"] - means["content"]
    return [
        _slope(against, name, families.get(name, name), doses.get(name, ""), value, len(seeds))
        for name, value in (values | means).items()
    ]


def _family(doses: Mapping[float, Cell]) -> Family:
    first = next(iter(doses.values()))
    return arms.block(first.arm, first.family)


def _slope(against: Cell, name: str, family: str, doses: str, value: Floats, seeds: int) -> Slope:
    found = estimate([value], [1.0])
    return Slope(
        model=against.model,
        benchmark=against.benchmark,
        perturbation=name,
        family=family,
        doses=doses,
        n_problems=value.shape[1],
        seeds=seeds,
        slope=100 * found.mean,
        ci_low=100 * found.low,
        ci_high=100 * found.high,
        p_value=found.p_value,
    )
