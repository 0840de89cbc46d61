"""How Δ grows with the dose of a perturbation, and whether structure costs more than content for the same dose.

A perturbation's slope is the least-squares line through the origin (dose 0 is the baseline, Δ 0) of its arms' Δ on
the dose. It is a weighted sum of Δ, so it is taken problem by problem like a Δ, and its interval knows that all doses
share problems, seeds and baseline (clusters.py). A family's slope is the mean of its perturbations' slopes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

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

    Where there are several benchmarks with the same arms, `macro` comes first: the mean of their slopes. Arms with
    gaps and unfinished arms are left out, as are completions without a grade.
    """
    found = cells(scores.table)
    unfinished = {(run.model, run.arm) for run in scores.incomplete}
    complete = [cell for cell in found.values() if not cell.gap and (cell.model, cell.arm) not in unfinished]
    result: list[Slope] = []
    for model in dict.fromkeys(cell.model for cell in complete):
        own = [cell for cell in complete if cell.model == model]
        against = {cell.benchmark: cell for cell in own if cell.arm == baseline}
        fits = {name: fit for name, cell in against.items() if (fit := _fit(own, cell))}
        if len(fits) > 1 and len(fits) == len(against):
            result += _macro(list(fits.values()))
        for fit in fits.values():
            result += [_slope(fit, name, [fit.values[name]]) for name in fit.values]
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


@dataclass(frozen=True, slots=True)
class _Fit:
    """Slopes on one benchmark, problem by problem."""

    model: str
    benchmark: str
    families: Mapping[str, str]
    doses: Mapping[str, str]
    seeds: Sequence[int]
    values: Mapping[str, Floats]
    """Perturbation, family or contrast -> (seeds x problems) slopes; the same seeds and problems for all."""


def _fit(own: Sequence[Cell], against: Cell) -> _Fit | None:
    """Slopes of a model's perturbations on the benchmark of its baseline; None where there are none."""
    dosed: dict[str, dict[float, Cell]] = {}
    for cell in own:
        dose = arms.dose(cell.arm)
        if dose and cell.benchmark == against.benchmark:
            dosed.setdefault(dose[0], {})[dose[1]] = cell
    dosed = {name: of for name, of in dosed.items() if len(of) > 1}
    every = [cell for of in dosed.values() for cell in of.values()]
    seeds = common_seeds(every, [against])[0] if every else []
    if not seeds:
        return None
    theirs = against.at(seeds)
    # The same problems for every slope, so that slopes can be subtracted problem by problem.
    judged = ~np.isnan(sum((cell.at(seeds) for cell in every), start=theirs)).any(axis=0)
    if not judged.any():
        return None
    families: dict[str, str] = {name: _family(of) for name, of in dosed.items()}
    values: dict[str, Floats] = {}
    ordered = arms.order((cell.arm, cell.family) for cell in every)
    for name in dict.fromkeys(arm.rpartition("_")[0] for arm in ordered):
        differences = [dose * (cell.at(seeds) - theirs)[:, judged] for dose, cell in dosed[name].items()]
        values[name] = 100 * np.sum(differences, axis=0) / sum(dose**2 for dose in dosed[name])
    doses = {name: ", ".join(f"{dose:g}" for dose in sorted(of)) for name, of in dosed.items()}
    values |= _means(values, families)
    return _Fit(against.model, against.benchmark, families, doses, seeds, values)


def _means(values: Mapping[str, Floats], families: Mapping[str, str]) -> dict[str, Floats]:
    """Mean slope of each family, and their difference where there are both."""
    means: dict[str, Floats] = {}
    for family in ("content", "structure"):
        own = [value for name, value in values.items() if families[name] == family]
        if own:
            means[family] = np.mean(own, axis=0)
    if len(means) == 2:
        means[CONTRAST] = means["structure"] - means["content"]
    return means


def _macro(fits: Sequence[_Fit]) -> list[Slope]:
    """The mean over benchmarks, where all have the same doses and seeds."""
    first = replace(fits[0], benchmark="macro")
    if any((fit.seeds, fit.doses) != (first.seeds, first.doses) for fit in fits):
        return []
    return [_slope(first, name, [fit.values[name] for fit in fits]) for name in first.values]


def _family(doses: Mapping[float, Cell]) -> Family:
    first = next(iter(doses.values()))
    return arms.block(first.arm, first.family)


def _slope(fit: _Fit, name: str, blocks: Sequence[Floats]) -> Slope:
    found = estimate(blocks, [1 / len(blocks)] * len(blocks))
    return Slope(
        model=fit.model,
        benchmark=fit.benchmark,
        perturbation=name,
        family=fit.families.get(name, name),
        doses=fit.doses.get(name, ""),
        n_problems=sum(block.shape[1] for block in blocks),
        seeds=len(fit.seeds),
        slope=100 * found.mean,
        ci_low=100 * found.low,
        ci_high=100 * found.high,
        p_value=found.p_value,
    )
