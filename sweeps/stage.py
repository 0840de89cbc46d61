"""A stage: what is computed, from what, named by the hash of exactly those."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]

_NAME = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of an experiment as a pure function of a spec and of named inputs.

    The spec is frozen into text when the stage is made, so changing the mapping later changes nothing.

    Raises:
        ValueError: If the name is not lower-case letters, the version not positive, or a value is not JSON.
    """

    name: str
    """Lower-case letters only: the name is a folder of the store."""
    version: int
    """Raised by hand whenever the code of the stage changes what it computes."""
    spec: Mapping[str, object]
    """Everything that decides the result: plain JSON values (tuples count as lists)."""
    inputs: Mapping[str, str]
    """Name of each input -> fingerprint of its stage, or the sha256 of its content."""
    canonical: str = field(init=False, repr=False, compare=False)
    """Canonical JSON of {stage, version, spec, inputs}."""
    fingerprint: str = field(init=False)
    """sha256 of `canonical`, 64 hexadecimal digits."""

    def __post_init__(self) -> None:
        """Validate and compute the fingerprint."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"stage name {self.name!r}: use lower-case letters a-z only")
        if type(self.version) is not int or self.version < 1:
            raise ValueError(f"stage {self.name}: version is {self.version!r}; use an integer from 1 on")
        for key, value in self.inputs.items():
            if not value or type(value) is not str:
                raise ValueError(f"stage {self.name}: inputs.{key} is {value!r}; give a fingerprint or content hash")
        content = {"stage": self.name, "version": self.version, "spec": self.spec, "inputs": self.inputs}
        object.__setattr__(self, "canonical", canonical_json(content))
        object.__setattr__(self, "fingerprint", hashlib.sha256(self.canonical.encode()).hexdigest())


def canonical_json(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, ASCII, floats by `repr`.

    `1` and `1.0` differ, as do `0.0` and `-0.0`; a list and a tuple of the same items do not.

    Raises:
        ValueError: If a value has no JSON form (NaN, a Path, a numpy scalar, a key that is not text, ...);
            the message names where it stands.
    """
    return json.dumps(_plain(value, ""), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: object, path: str) -> JsonValue:
    # Exact types: a subclass (an enum, numpy.float64) may print as something else than it is.
    if value is None or type(value) in (str, bool, int):
        return value  # type: ignore[return-value]
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{path or 'value'} is {value}: only finite numbers can be fingerprinted")
        return value
    if isinstance(value, Mapping):
        items = cast(Mapping[object, object], value).items()
        return {_key(key, path): _plain(item, f"{path}.{key}".lstrip(".")) for key, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{number}]") for number, item in enumerate(cast(Sequence[object], value))]
    raise ValueError(f"{path or 'value'} is a {type(value).__name__} ({value!r:.80}), which is not plain JSON")


def _key(key: object, path: str) -> str:
    if type(key) is not str:
        raise ValueError(f"{path or 'value'} has the key {key!r}: keys are text")
    return key
