"""Scores gathered by arm and benchmark, ready to be paired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.clusters import Floats

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm's scores on one benchmark."""

    model: str
    arm: str
    family: str
    benchmark: str
    seeds: tuple[int, ...]
    means: Floats
    """(seeds x problems): share of right samples, NaN where none could be graded; problems as in the other cells."""
    k: int
    """Samples per problem."""
    ungraded: int
    """Completions the grader could not judge; they count neither as right nor as wrong."""
    gap: str
    """What is missing, by name; empty if nothing is."""

    def at(self, seeds: Sequence[int]) -> Floats:
        """Rows of these seeds. The untrained model has no training seed: its only row stands for all."""
        if self.is_untrained:
            return np.repeat(self.means, len(seeds), axis=0)
        return self.means[[self.seeds.index(seed) for seed in seeds]]

    @property
    def is_untrained(self) -> bool:
        """Whether this is the untrained model, evaluated once."""
        return self.arm == "base" and len(self.seeds) == 1


def cells(table: pd.DataFrame) -> dict[tuple[str, str, str], Cell]:
    """Gather the long table (load.py) by (model, arm, benchmark).

    A benchmark's problems are all that any arm of the model answered; an arm that lacks some has a `gap`.
    """
    keys = ["model", "benchmark", "arm", "seed", "problem_id"]
    # A group's mean leaves NaN out; its size does not.
    counted = table.groupby(keys, observed=True, sort=False)["correct"].agg(["mean", "count", "size"]).reset_index()
    family = cast("pd.Series[str]", table.groupby("arm", observed=True)["family"].first())
    found: dict[tuple[str, str, str], Cell] = {}
    for (model, benchmark), rows in counted.groupby(["model", "benchmark"], observed=True, sort=False):
        problems = np.array(sorted(rows["problem_id"].unique()), dtype=object)
        for arm, of_arm in rows.groupby("arm", observed=True, sort=False):
            name = (str(model), str(arm), str(benchmark))
            found[name] = _cell(name, str(family[arm]), of_arm, problems)
    return found


def _cell(name: tuple[str, str, str], family: str, rows: pd.DataFrame, problems: NDArray[np.object_]) -> Cell:
    seeds = sorted(int(seed) for seed in rows["seed"].unique())
    by_id = {problem: column for column, problem in enumerate(problems)}
    place = (
        np.array([seeds.index(seed) for seed in rows["seed"]], dtype=int),
        np.array([by_id[problem] for problem in rows["problem_id"]], dtype=int),
    )
    means = np.full((len(seeds), len(problems)), np.nan)
    samples = np.zeros((len(seeds), len(problems)), dtype=int)
    means[place] = rows["mean"].to_numpy(float)
    samples[place] = rows["size"].to_numpy(int)
    k = int(samples.max())
    model, arm, benchmark = name
    return Cell(
        model=model,
        arm=arm,
        family=family,
        benchmark=benchmark,
        seeds=tuple(seeds),
        means=means,
        k=k,
        ungraded=int(rows["size"].sum() - rows["count"].sum()),
        gap=_gap(samples, k, problems),
    )


def _gap(samples: NDArray[np.int_], k: int, problems: NDArray[np.object_]) -> str:
    missing = list(problems[(samples == 0).any(axis=0)])
    short = list(problems[((samples > 0) & (samples < k)).any(axis=0)])
    reasons = [f"lacks {_listed(missing)}"] if missing else []
    reasons += [f"has fewer than {k} samples of {_listed(short)}"] if short else []
    return "; ".join(reasons)


def _listed(problems: list[str]) -> str:
    """`2 problems: a, b`; of many, the first few."""
    names = ", ".join(problems[:_NAMED]) + (", …" if len(problems) > _NAMED else "")
    return f"{len(problems)} problem{'s' if len(problems) > 1 else ''}: {names}"
