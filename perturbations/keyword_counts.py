"""Keywords counted in many texts at once, for the dose report: as `keyword_pattern(KEYWORDS)` finds them, faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perturbations.keywords import KEYWORDS

_A = np.uint8(ord("A"))
_UNKNOWN = ord("?")
_WORDLIKE = np.array([chr(code).isalnum() or chr(code) == "_" for code in range(256)])
"""What a regular expression calls `\\w`, by the code of a Latin-1 character."""
_MARGIN = "\0" * (1 + max(map(len, KEYWORDS)))


def count_in_all(texts: Sequence[str]) -> Counter[str]:
    """How often each of `KEYWORDS` occurs in `texts` taken together, as a whole word in the case given.

    Every keyword begins with a capital, none can overlap another, and all are ASCII: so each is looked for by itself,
    letter by letter, among the capitals of all texts.
    """
    joined = "\0".join(["", *texts, _MARGIN])
    letters = np.frombuffer(joined.encode("latin-1", "replace"), np.uint8)  # one byte per character, "?" if it has none
    capitals = ((letters - _A) < 26).nonzero()[0]
    initials = letters[capitals]
    counts: Counter[str] = Counter()
    for keyword in KEYWORDS:
        found = capitals[initials == ord(keyword[0])]
        for offset, letter in enumerate(keyword[1:].encode(), 1):
            found = found[letters[found + offset] == letter]
            if not found.size:
                break
        inside = _wordlike(joined, letters, found - 1) | _wordlike(joined, letters, found + len(keyword))
        counts[keyword] = int((~inside).sum())
    return +counts


def _wordlike(text: str, letters: NDArray[np.uint8], places: NDArray[np.intp]) -> NDArray[np.bool_]:
    codes = letters[places]
    wordlike = _WORDLIKE[codes]
    for index in (codes == _UNKNOWN).nonzero()[0]:
        wordlike[index] = text[places[index]].isalnum()
    return wordlike
