from __future__ import annotations

import pytest

from train.spec import Lora, Recipe, Split, split_batch


@pytest.mark.parametrize(
    ("batch", "processes", "largest", "expected"),
    [
        (96, 8, 1, Split(8, 1, 12)),
        (96, 6, 4, Split(6, 4, 4)),
        (96, 8, 5, Split(8, 4, 3)),  # 5 does not divide 12
        (8, 1, 8, Split(1, 8, 1)),
        (7, 1, 4, Split(1, 1, 7)),
    ],
)
def test_the_effective_batch_is_kept_on_every_machine(batch: int, processes: int, largest: int, expected: Split):
    split = split_batch(batch, processes, largest)
    assert split == expected
    assert split.processes * split.micro_batch * split.accumulation == batch


def test_an_impossible_split_names_what_would_do():
    with pytest.raises(ValueError, match=r"train.batch_size=96 cannot be divided by 5 processes.*\[1, 2, 3, 4, 6, 8"):
        split_batch(96, 5, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "train.learning_rate=0.0 must be positive"),
        ({"warmup_ratio": 1.0}, "train.warmup_ratio=1.0"),
        ({"max_newly_too_long": -0.1}, "train.max_newly_too_long=-0.1"),
        ({"max_steps": 0}, "train.max_steps=0"),
        ({"extra": {"seed": 1}}, "train.extra.seed is set by the harness"),
    ],
)
def test_an_impossible_recipe_is_refused(changes: dict[str, object], message: str):
    fields = {"name": "x", "epochs": 1.0, "batch_size": 8, "learning_rate": 1e-4, "max_length": 64, "lora": Lora(8, 16)}
    with pytest.raises(ValueError, match=message):
        Recipe(**(fields | changes))  # pyright: ignore[reportArgumentType]


def test_an_impossible_adapter_is_refused():
    with pytest.raises(ValueError, match="train.lora.rank=0"):
        Lora(0, 16)
    with pytest.raises(ValueError, match="train.lora.dropout=1"):
        Lora(8, 16, dropout=1.0)
