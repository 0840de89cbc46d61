"""The steps of a thought, kept as few long strings until somebody asks for the pieces."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, overload


class Step(NamedTuple):
    """One step of a thought and what separates it from the next."""

    text: str
    separator: str


class Steps(Sequence[Step]):
    """A sequence of steps that reads like a tuple of `Step`, but costs next to nothing to load and pass on.

    It is either one text with the places to cut it at, or the pieces; the other form is made when it is asked for. A
    corpus has millions of steps, and most perturbations move or drop them without looking inside.

    Args:
        texts: of the steps.
        separators: what stands behind each of them.
    """

    __slots__ = ("_ends", "_separators", "_texts", "_thought")

    def __init__(self, texts: list[str], separators: list[str]) -> None:
        """Takes the pieces, which are not copied."""
        if len(texts) != len(separators):
            raise ValueError(f"{len(texts)} texts, but {len(separators)} separators")
        self._texts: list[str] | None = texts
        self._separators: list[str] | None = separators
        self._thought: str | None = None
        self._ends: array[int] | None = None

    @classmethod
    def cut(cls, thought: str, ends: array[int]) -> Steps:
        """Cuts a text.

        Args:
            thought: the text.
            ends: in characters, the end of the first step's text, of its separator, of the second step's text, and so
                on to the end of `thought`.
        """
        steps = cls.__new__(cls)
        steps._texts = steps._separators = None
        steps._thought, steps._ends = thought, ends
        return steps

    @classmethod
    def of(cls, steps: Sequence[Step]) -> Steps:
        """`steps` itself if it is a `Steps` already."""
        return steps if isinstance(steps, Steps) else cls([text for text, _ in steps], [end for _, end in steps])

    @property
    def texts(self) -> list[str]:
        """The texts of the steps; not to be changed."""
        if self._texts is None:
            ends = self.ends
            self._texts = _pieces(self.thought, chain((0,), ends[1::2]), ends[::2])
        return self._texts

    @property
    def separators(self) -> list[str]:
        """What stands behind each step; not to be changed."""
        if self._separators is None:
            ends = self.ends
            self._separators = _pieces(self.thought, ends[::2], ends[1::2])
        return self._separators

    @property
    def thought(self) -> str:
        """All texts and separators joined."""
        if self._thought is None:
            self._thought = "".join(chain.from_iterable(zip(self.texts, self.separators, strict=True)))
        return self._thought

    @property
    def ends(self) -> array[int]:
        """Where texts and separators end in the thought, in characters, alternating."""
        if self._ends is None:
            pieces = chain.from_iterable(zip(self.texts, self.separators, strict=True))
            self._ends = array("i", accumulate(map(len, pieces)))
        return self._ends

    def with_texts(self, texts: list[str]) -> Steps:
        """Other texts between the same separators, place by place."""
        return Steps(texts, self.separators)

    def select(self, places: Sequence[int]) -> Steps:
        """Some of the steps, the last of them ending as the whole thought did (usually with no separator)."""
        texts, separators = self.texts, self.separators
        ends = [separators[place] for place in places]
        return Steps([texts[place] for place in places], [*ends[:-1], separators[-1]] if ends else [])

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.ends) // 2 if self._texts is None else len(self._texts)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, index: int | slice) -> Step | tuple[Step, ...]:
        """One step, or those of a slice."""
        if isinstance(index, slice):
            return tuple(map(Step, self.texts[index], self.separators[index]))
        return Step(self.texts[index], self.separators[index])

    def __add__(self, other: Sequence[Step]) -> tuple[Step, ...]:
        """A tuple, as of tuples."""
        return (*self, *other)

    def __radd__(self, other: Sequence[Step]) -> tuple[Step, ...]:
        """A tuple, as of tuples."""
        return (*other, *self)

    def __eq__(self, other: object) -> bool:
        """Equal to any sequence of the same steps."""
        if isinstance(other, Steps):
            return (self.texts, self.separators) == (other.texts, other.separators)
        return tuple(self) == other

    def __hash__(self) -> int:
        """As that of the tuple of the steps."""
        return hash(tuple(self))

    def __repr__(self) -> str:
        """Number and text."""
        return f"<{len(self)} steps: {self.thought!r}>"


def _pieces(text: str, starts: Iterable[int], stops: Iterable[int]) -> list[str]:
    return [text[start:stop] for start, stop in zip(starts, stops, strict=False)]
