"""Texts side by side: a demonstration before and after its perturbation, two arms' completions for one problem."""

from __future__ import annotations

import difflib
import html
from dataclasses import dataclass

import pandas as pd

from analysis.completions import Pair
from analysis.load import Scores
from analysis.runs import Run

_CORPUS = "corpus.parquet"
_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere;text-align:left;vertical-align:top;width:50%"


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two texts and their headings; a notebook shows them with the lines marked that only one of them has."""

    heading: str
    names: tuple[str, str]
    texts: tuple[str, str]

    def _repr_html_(self) -> str:
        left, right = (text.splitlines() for text in self.texts)
        matched = difflib.SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
        common = [{start + i for start, size in starts for i in range(size)} for starts in _starts(matched)]
        cells = [
            f'<td style="{_STYLE}">{"<br>".join(_line(line, n in kept) for n, line in enumerate(lines))}</td>'
            for lines, kept in zip((left, right), common, strict=True)
        ]
        heads = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in self.names)
        body = f"<tr>{heads}</tr><tr>{''.join(cells)}</tr>"
        return f"<p><code>{html.escape(self.heading)}</code></p><table>{body}</table>"


def perturbed(scores: Scores, arm: str, baseline: str = "none", number: int = 0) -> SideBySide:
    """The `number`-th demonstration that an arm changed, as the baseline was trained on it and as the arm was.

    Raises:
        ValueError: the runs hold no corpora of both arms, or fewer demonstrations were changed.
    """
    before, after = (_responses(scores, name) for name in (baseline, arm))
    changed = [
        name for name in before.index if name in after.index and before["response"][name] != after["response"][name]
    ]
    if number >= len(changed):
        raise ValueError(f"{arm} changed {len(changed)} demonstrations; number={number} is not one of them")
    name = changed[number]
    texts = str(before["response"][name]), str(after["response"][name])
    return SideBySide(str(before["problem"][name]), (baseline, arm), texts)


def completions(pair: Pair, baseline: str = "none") -> SideBySide:
    """What the baseline and an arm wrote."""
    right, wrong = " (right)", " (wrong)"
    marks = {
        "baseline right, arm wrong": (right, wrong),
        "baseline wrong, arm right": (wrong, right),
        "both wrong": (wrong, wrong),
        "both right": (right, right),
    }[pair.outcome]
    names = baseline + marks[0], pair.arm + marks[1]
    return SideBySide(pair.prompt or pair.problem_id, names, (pair.baseline.text, pair.completion.text))


def _responses(scores: Scores, arm: str) -> pd.DataFrame:
    run: Run | None = next((run for run in scores.runs if run.arm == arm), None)
    file = run.folders["perturb"] / _CORPUS if run and "perturb" in run.folders else None
    if file is None or not file.is_file():
        raise ValueError(f"there is no corpus of the arm {arm}: load runs with `load_runs`, their store beside them")
    return pd.read_parquet(file, columns=["id", "problem", "response"]).set_index("id")


def _starts(blocks: list[difflib.Match]) -> list[list[tuple[int, int]]]:
    return [[(block.a, block.size) for block in blocks], [(block.b, block.size) for block in blocks]]


def _line(line: str, common: bool) -> str:
    text = html.escape(line)
    return text if common or not line else f'<mark style="background:#ffe9a8">{text}</mark>'
