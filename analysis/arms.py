"""Arms: their families and the order in which tables and figures show them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Family = Literal["baseline", "content", "structure", "control"]

#: Perturbations in the order of the paper's argument, and what each of them breaks.
_STEMS: dict[str, Family] = {
    "digits": "content",
    "wrong": "content",
    "flip": "content",
    "keywords": "content",
    "shuffle": "structure",
    "delete": "structure",
    "insert": "structure",
}
_DOSE = re.compile(r"(.+)_(\d+(?:\.\d+)?)")
#: What runs record; a perturbation without a word of its own for it goes by its label.
_RECORDED: dict[str, Family] = {"content": "content", "structure": "structure", "control": "control"}
BLOCKS: tuple[Family, ...] = ("baseline", "content", "structure", "control")
#: A table's headings above the arms of a family.
HEADINGS: dict[Family, str] = {"baseline": "", "content": "Content", "structure": "Structure", "control": "Control"}


def family(arm: str) -> Family:
    """Family an arm's label tells: `base` and `none` are baselines, what is in no list is a control."""
    if arm.split("_")[0] in ("base", "none"):
        return "baseline"
    for stem, kind in _STEMS.items():
        if arm.startswith(stem):
            return kind
    return "control"


def block(arm: str, recorded: str) -> Family:
    """Block of the table an arm stands in, from the family its run recorded; `base` and `none` stand first."""
    if family(arm) == "baseline":
        return "baseline"
    return _RECORDED.get(recorded, family(arm))


def dose(arm: str) -> tuple[str, float] | None:
    """Perturbation and percentage in an arm's label (`shuffle_67` -> shuffle, 67), None where there is none."""
    found = _DOSE.fullmatch(arm)
    return (found[1], float(found[2])) if found else None


def order(arms: Iterable[tuple[str, str]]) -> list[str]:
    """Arms in table order: base, none, content, structure, control; doses ascending.

    Args:
        arms: (arm, family its run recorded); repetitions do not count.
    """
    return [arm for arm, _ in sorted(dict.fromkeys(arms), key=lambda item: _rank(*item))]


def _rank(arm: str, recorded: str) -> tuple[int, int, list[tuple[int, str]]]:
    stem = next((place for place, stem in enumerate(_STEMS) if arm.startswith(stem)), len(_STEMS))
    natural = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", arm)]
    return BLOCKS.index(block(arm, recorded)), {"base": -2, "none": -1}.get(arm, stem), natural
