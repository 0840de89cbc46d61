"""One table over all arms of a corpus: what was asked, what happened, what stayed unchanged and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_ORDER = ("none", "content", "structure", "control")
_HEAD = (
    "arm",
    "asked",
    "realised",
    "touched",
    "demonstrations",
    "changed",
    "unchanged, dropped",
    "characters",
    "tokens",
)


def collect(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Reads the dose reports below folders, one per arm and seed, in the order family, arm, dose.

    Raises:
        FileNotFoundError: there is no `dose.json` below any of them.
    """
    folders = list(folders)
    paths = sorted({path for folder in folders for path in folder.rglob("dose.json")})
    if not paths:
        raise FileNotFoundError(f"no dose.json below {', '.join(map(str, folders))}; run with stop_after=perturb first")
    reports = {(one["arm"], one["seed"]): one for one in (json.loads(path.read_text()) for path in paths)}
    return sorted(reports.values(), key=_place)


def _place(report: dict[str, Any]) -> tuple[int, str, float, str, int]:
    arm = str(report["arm"])
    name = arm.split("+")[0].rpartition("_")[0] or arm
    return _ORDER.index(report["family"]), name, report["fraction_asked"] or 0.0, arm, report["seed"]


def table(reports: Sequence[dict[str, Any]]) -> str:
    """The reports as a Markdown table; fractions in per cent, keywords per thousand characters of thought.

    Two corpora in one table (different numbers of demonstrations going in) are told apart by that number only.
    """
    rows = [[*_HEAD, "keywords", "per 1k"], *map(_row, reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _row(report: dict[str, Any]) -> list[str]:
    people, words, tokens = report["demonstrations"], report["keywords"], report["tokens"]
    reasons = {**report["unchanged"], **report["dropped"], **report["taken_in"]}
    asked = report["fraction_asked"] is not None
    return [
        f"{report['arm']}" + (f" (seed {report['seed']})" if report["seed"] else ""),
        _percent(report["fraction_asked"]),
        _percent(report["fraction_realised"]) if asked or report["touched"] else "–",
        f"{report['touched']:,}/{report['total']:,} {report['counts']}",
        f"{people['in']:,} → {people['out']:,}",
        f"{people['changed']:,}",
        ", ".join(f"{reason} {count:,}" for reason, count in reasons.items()) or "–",
        _times(report["characters"]["ratio"]),
        _times(tokens["ratio"]) if tokens else "–",
        f"{words['before']:,} → {words['after']:,}",
        f"{_per_thousand(report, 'before')} → {_per_thousand(report, 'after')}",
    ]


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"×{ratio:.3f}"


def _per_thousand(report: dict[str, Any], when: str) -> str:
    characters = report["thought_characters"][when]
    return f"{1000 * report['keywords'][when] / characters:.2f}" if characters else "–"
