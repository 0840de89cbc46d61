"""The dose report: what an arm was asked to do, what it did, what stayed as it was and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from perturbations.base import Outcome, Perturbation
from perturbations.demonstration import Demonstration
from perturbations.keyword_counts import count_in_all


def _counter() -> Counter[str]:
    return Counter()


@dataclass
class Tally:
    """Sums over demonstrations; tallies of parts of a corpus add up to that of the whole, in any order.

    Attributes:
        demonstrations: `in`, `out`, `changed`.
        unchanged: demonstrations kept as they were, by reason.
        dropped: demonstrations this arm has not, by reason.
        taken_in: wrong traces that fill empty places, by reason.
        left_out: wrong traces this arm does not use, by reason.
        sizes: `touched`, `total`, and steps, characters and tokens before and after, over the demonstrations kept.
        keywords_before: occurrences by keyword in the thoughts before.
        keywords_after: and after.
        thoughts: before and after, of the demonstrations whose keywords `count_keywords` has yet to count.
    """

    demonstrations: Counter[str] = field(default_factory=_counter)
    unchanged: Counter[str] = field(default_factory=_counter)
    dropped: Counter[str] = field(default_factory=_counter)
    taken_in: Counter[str] = field(default_factory=_counter)
    left_out: Counter[str] = field(default_factory=_counter)
    sizes: Counter[str] = field(default_factory=_counter)
    keywords_before: Counter[str] = field(default_factory=_counter)
    keywords_after: Counter[str] = field(default_factory=_counter)
    thoughts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def __iadd__(self, other: Tally) -> Tally:
        """Adds the sums of another part."""
        for name, own in vars(self).items():
            if isinstance(own, Counter):
                own.update(getattr(other, name))
        self.thoughts += other.thoughts
        return self

    def count_keywords(self) -> None:
        """Counts the keywords of all thoughts at once, and forgets the thoughts."""
        changed = [(before, after) for before, after in self.thoughts if after is not before]
        same = count_in_all([before for before, after in self.thoughts if after is before])
        self.keywords_before += same + count_in_all([before for before, _ in changed])
        self.keywords_after += same + count_in_all([after for _, after in changed])
        self.thoughts = []

    def add(self, before: Demonstration, outcome: Outcome) -> tuple[bool, str]:
        """Counts one demonstration.

        Returns:
            Whether the outcome differs from the demonstration in any byte, and its response ("" if it was dropped).
        """
        after = outcome.demonstration
        reason = outcome.reason or "same_text"
        self.sizes["touched"] += outcome.touched
        self.sizes["total"] += outcome.total
        if before.correct is False:
            (self.left_out if after is None else self.taken_in)[reason] += 1
        else:
            self.demonstrations["in"] += 1
            if after is None:
                self.dropped[reason] += 1
        if after is None:
            return False, ""
        self.demonstrations["out"] += 1
        thought = thought_after = before.thought
        response = response_after = before.respond(thought)
        if after is not before:
            thought_after = after.thought
            response_after = after.respond(thought_after)
        changed = response_after != response or after.problem != before.problem
        self._measure("before", before, thought, response)
        self._measure("after", after, thought_after, response_after)
        self.thoughts.append((thought, thought_after))
        self.demonstrations["changed"] += changed
        if not changed and before.correct is not False:
            self.unchanged[reason] += 1
        return changed, response_after

    def _measure(self, when: str, one: Demonstration, thought: str, response: str) -> None:
        self.sizes[f"steps_{when}"] += len(one.steps)
        self.sizes[f"thought_{when}"] += len(thought)
        self.sizes[f"response_{when}"] += len(response)


def dose_report(perturbation: Perturbation, seed: int, tally: Tally) -> dict[str, Any]:
    """The report as it is written to `dose.json`.

    Args:
        perturbation: the arm.
        seed: of the experiment.
        tally: over the whole corpus; with `tokens_before` and `tokens_after` in `sizes` where tokens were counted.

    Returns:
        A JSON-able dict. Fractions and ratios are None where there is nothing to divide by; lengths are in characters
        and in tokens, summed over the demonstrations kept; keywords are counted in thoughts, in the case given.
    """
    sizes = tally.sizes
    return {
        "schema": 1,
        "arm": perturbation.label,
        "family": perturbation.family,
        "parameters": asdict(perturbation),  # pyright: ignore[reportArgumentType]
        "seed": seed,
        "fraction_asked": getattr(perturbation, "fraction", None),
        "fraction_realised": _ratio(sizes["touched"], sizes["total"]),
        "counts": perturbation.counts,
        "touched": sizes["touched"],
        "total": sizes["total"],
        "demonstrations": {key: tally.demonstrations[key] for key in ("in", "out", "changed")},
        "unchanged": dict(sorted(tally.unchanged.items())),
        "dropped": dict(sorted(tally.dropped.items())),
        "taken_in": dict(sorted(tally.taken_in.items())),
        "left_out": dict(sorted(tally.left_out.items())),
        "steps": _lengths(tally, "steps"),
        "characters": _lengths(tally, "response"),
        "thought_characters": _lengths(tally, "thought"),
        "tokens": _lengths(tally, "tokens") if "tokens_after" in sizes else None,
        "keywords": _keywords(tally),
    }


def _lengths(tally: Tally, what: str) -> dict[str, float | None]:
    before, after = tally.sizes[f"{what}_before"], tally.sizes[f"{what}_after"]
    return {"before": before, "after": after, "ratio": _ratio(after, before)}


def _keywords(tally: Tally) -> dict[str, Any]:
    words = sorted(tally.keywords_before | tally.keywords_after)
    by_word = {word: [tally.keywords_before[word], tally.keywords_after[word]] for word in words}
    before, after = tally.keywords_before.total(), tally.keywords_after.total()
    return {"before": before, "after": after, "by_keyword": by_word}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
