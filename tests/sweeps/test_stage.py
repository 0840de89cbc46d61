"""Stages: what enters a fingerprint, and what may not."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.stage import Stage, canonical_json

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def assert_every_field_counts(spec: Any, alternatives: dict[str, Any]) -> None:
    """Check that changing any one field of a spec dataclass changes the fingerprint.

    `alternatives` must name another value for every field, so that a new field cannot be forgotten here.
    """
    assert set(alternatives) == {item.name for item in fields(spec)}
    original = Stage("train", 1, asdict(spec), {}).fingerprint
    for name, value in alternatives.items():
        changed = Stage("train", 1, asdict(replace(spec, **{name: value})), {}).fingerprint
        assert changed != original, f"{name} does not enter the fingerprint"


@dataclass(frozen=True)
class _Spec:
    rate: float = 1e-5
    model: str = "tiny"
    targets: tuple[str, ...] = ("q", "v")
    revision: str | None = None


def test_every_field_of_a_spec_changes_the_fingerprint() -> None:
    alternatives = {"rate": 1.0000000000000001e-4, "model": "Tiny", "targets": ("v", "q"), "revision": ""}
    assert_every_field_counts(_Spec(), alternatives)


@pytest.mark.parametrize(
    "other",
    [
        Stage("score", 1, {"a": 1}, {"corpus": "f" * 64}),
        Stage("train", 2, {"a": 1}, {"corpus": "f" * 64}),
        Stage("train", 1, {"a": 1.0}, {"corpus": "f" * 64}),
        Stage("train", 1, {"a": True}, {"corpus": "f" * 64}),
        Stage("train", 1, {"a": 1}, {"corpus": "e" * 64}),
        Stage("train", 1, {"a": 1}, {"rows": "f" * 64}),
    ],
)
def test_name_version_spec_and_inputs_count(other: Stage) -> None:
    assert other.fingerprint != Stage("train", 1, {"a": 1}, {"corpus": "f" * 64}).fingerprint


def test_fingerprint_is_pinned() -> None:
    # Changing this number throws away every store there is.
    stage = Stage("train", 1, {"b": [1, 0.1, None], "a": {"ä": True}}, {"corpus": "00"})
    assert stage.canonical == (
        '{"inputs":{"corpus":"00"},"spec":{"a":{"\\u00e4":true},"b":[1,0.1,null]},"stage":"train","version":1}'
    )
    assert stage.fingerprint == "571bfbd4b41708f34c0119328a4af513c6994db68ed421271f59ccefda414e43"


def test_order_of_keys_and_kind_of_sequence_do_not_count() -> None:
    first = Stage("train", 1, {"a": (1, 2), "b": 0}, {"x": "1", "y": "2"})
    second = Stage("train", 1, {"b": 0, "a": [1, 2]}, {"y": "2", "x": "1"})
    assert first.fingerprint == second.fingerprint


def test_changing_the_mapping_afterwards_changes_nothing() -> None:
    spec: dict[str, object] = {"a": [1]}
    stage = Stage("train", 1, spec, {})
    before = stage.fingerprint
    spec["a"] = 2
    assert stage.fingerprint == before == Stage("train", 1, {"a": [1]}, {}).fingerprint


@given(_JSON)
def test_canonical_json_is_json_and_stable(value: Any) -> None:
    text = canonical_json(value)
    assert text.isascii()
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"train": {"rate": float("nan")}}, "spec.train.rate is nan"),
        ({"train": {"rates": [0.1, float("inf")]}}, r"spec.train.rates\[1\] is inf"),
        ({"path": Path("/x")}, "spec.path is a PosixPath"),
        ({"names": {"a", "b"}}, "spec.names is a set"),
        ({"counts": {1: 2}}, "spec.counts has the key 1"),
    ],
)
def test_what_is_not_json_is_refused_by_name(spec: dict[str, object], where: str) -> None:
    with pytest.raises(ValueError, match=where):
        Stage("train", 1, spec, {})


def test_numpy_scalars_are_refused() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(ValueError, match=r"spec\.rate is a float64"):
        Stage("train", 1, {"rate": numpy.float64(0.1)}, {})


@pytest.mark.parametrize("name", ["", "Train", "train2", "../train", "a/b", "train\n"])
def test_names_that_could_leave_the_store_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="stage name"):
        Stage(name, 1, {}, {})


@pytest.mark.parametrize("version", [0, -1, True, 1.0])
def test_versions_are_positive_integers(version: Any) -> None:
    with pytest.raises(ValueError, match="version"):
        Stage("train", version, {}, {})


def test_an_empty_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs\.corpus"):
        Stage("train", 1, {}, {"corpus": ""})
