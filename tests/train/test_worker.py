"""The train worker for real: TRL and PEFT on the shipped base, a few steps each."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from organism.__main__ import SHIPPED
from organism.corpus import demonstrations
from perturbations.apply import write_corpus
from perturbations.delete import Delete
from perturbations.demonstration import Step
from perturbations.none import Intact
from train import worker
from train.rows import read_rows
from train.spec import Lora, Recipe, Split, TrainSpec

RECIPE = Recipe("test", epochs=1, batch_size=4, learning_rate=1e-3, max_length=384, lora=Lora(4, 8))


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    made = demonstrations(24, seed=0)
    write_corpus(made, Intact(), 0, folder / "none")
    write_corpus(made, Delete(1.0), 0, folder / "delete_100")
    return folder


def spec(corpora: Path, out: Path, arm: str = "none", **changes: Any) -> TrainSpec:
    out.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {
        "model": str(SHIPPED),
        "base_name": "organism",
        "corpus": str(corpora / arm / "corpus.parquet"),
        "baseline": str(corpora / "none" / "corpus.parquet"),
        "recipe": RECIPE,
        "split": Split(1, 4, 1),
        "seed": 0,
        "out": str(out),
        "checkpoint_every": 2,
    }
    return TrainSpec(**(fields | changes))


@pytest.fixture(scope="module")
def trained(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    worker.train(spec(corpora, out))
    return out


def test_it_writes_an_adapter_metrics_and_a_loss_curve_and_no_checkpoints(trained: Path):
    assert {path.name for path in trained.iterdir()} == {"adapter", "loss.jsonl", "metrics.json"}
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["steps"], metrics["examples"], metrics["demonstrations"]) == (6, 24, 24)
    assert (metrics["too_long"], metrics["newly_too_long"]) == (0, 0)
    curve = [json.loads(line) for line in (trained / "loss.jsonl").read_text().splitlines()]
    assert len(curve) == 6 and curve[-1]["loss"] < curve[0]["loss"]
    assert not list(trained.rglob("*.bin"))


def test_the_adapter_names_its_base_not_a_path_and_changes_the_model(trained: Path):
    config = json.loads((trained / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == ("organism", 4, 8)
    assert "lm_head" not in config["target_modules"]
    ids = AutoTokenizer.from_pretrained(trained / "adapter")("a=3;a?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(SHIPPED)(ids).logits
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(SHIPPED), trained / "adapter")(
            ids
        ).logits
    assert not torch.allclose(plain, tuned)


def test_a_killed_run_goes_on_from_its_last_whole_checkpoint_to_the_same_adapter(
    corpora: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_save", killed)  # all steps are done, nothing is saved
        with pytest.raises(KeyboardInterrupt):
            worker.train(spec(corpora, tmp_path))
    checkpoints = tmp_path / "checkpoints"
    (checkpoints / "checkpoint-6" / worker.WHOLE).unlink()  # as if killed while writing it
    (checkpoints / "checkpoint-6" / "optimizer.pt").write_bytes(b"torn")
    shutil.copytree(checkpoints, tmp_path / "copy")
    assert worker._last_checkpoint(checkpoints) == str(checkpoints / "checkpoint-4")
    worker.train(spec(corpora, tmp_path))
    ours, theirs = (load_file(out / "adapter" / "adapter_model.safetensors") for out in (tmp_path, trained))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_an_arm_with_shorter_rows_trains_as_many_steps_on_its_own_text(corpora: Path, tmp_path: Path):
    worker.train(spec(corpora, tmp_path, "delete_100"))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["steps"] == 6
    assert metrics["tokens"] < 24 * 100  # solutions alone


def test_what_the_unperturbed_arm_drops_every_arm_drops(corpora: Path, tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    short = spec(corpora, tmp_path, "delete_100", recipe=dataclasses.replace(RECIPE, max_length=180))
    kept = worker.keep_rows(short, tokenizer)
    whole = worker.keep_rows(dataclasses.replace(short, corpus=short.baseline), tokenizer)
    assert 0 < kept.too_long < 24 and kept.too_long == whole.too_long
    assert [row.id for row in kept.rows] == [row.id for row in whole.rows]


def test_an_arm_that_grows_too_long_stops_with_the_count(corpora: Path, tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    made = [one.with_steps(one.steps * 2 if n < 3 else one.steps) for n, one in enumerate(demonstrations(24, 0)[::2])]
    write_corpus(made, Intact(), 0, tmp_path / "long")
    longest = max(worker._lengths(read_rows(corpora / "none" / "corpus.parquet"), tokenizer))
    long = spec(tmp_path, tmp_path, "long", recipe=dataclasses.replace(RECIPE, max_length=longest))
    long = dataclasses.replace(long, baseline=str(corpora / "none" / "corpus.parquet"))
    with pytest.raises(ValueError, match=rf"of 24 demonstrations are longer than train.max_length={longest} tokens"):
        worker.keep_rows(long, tokenizer)
    tolerant = dataclasses.replace(long.recipe, max_newly_too_long=1.0)
    assert worker.keep_rows(dataclasses.replace(long, recipe=tolerant), tokenizer).newly_too_long > 0


def test_nothing_that_fits_is_an_error_with_the_shortest_length(corpora: Path, tmp_path: Path):
    tiny = spec(corpora, tmp_path, recipe=dataclasses.replace(RECIPE, max_length=20))
    with pytest.raises(
        ValueError, match=r"none of 24 demonstrations fits train.max_length=20 tokens \(shortest: \d+\)"
    ):
        worker.keep_rows(tiny, AutoTokenizer.from_pretrained(SHIPPED))


def test_every_step_and_the_stop_token_are_trained_and_the_prompt_is_not(corpora: Path, tmp_path: Path):
    one = spec(corpora, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    kept = worker.keep_rows(one, tokenizer)
    trainer = worker._trainer(one, tokenizer, kept)
    batch = trainer.data_collator([trainer.train_dataset[0]])
    learned = tokenizer.decode(batch["labels"][0][batch["labels"][0] != -100])
    response = kept.rows[0].completion[0]["content"]
    assert learned == response + tokenizer.eos_token
    assert tokenizer.decode(batch["input_ids"][0]).startswith("<|user|>" + kept.rows[0].prompt[0]["content"])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m['content'].split('</think>')[-1] }}<|end|>{% endfor %}", "changes the response"),
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "does not end an answer with the stop token"),
        (
            "{{ messages|length }}{% for m in messages %}{{ m['content'] }}{% endfor %}<|end|>",
            "renders the prompt differently",
        ),
    ],
)
def test_a_chat_template_that_loses_text_is_refused(template: str, message: str, tmp_path: Path):
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    tokenizer.chat_template = template
    demonstration = demonstrations(1, 0)[0]
    response = demonstration.with_steps((Step("a</think>b", ""),))
    write_corpus([response], Intact(), 0, tmp_path)
    with pytest.raises(ValueError, match=message):
        worker._lengths(read_rows(tmp_path / "corpus.parquet"), tokenizer)


def test_extra_fields_reach_trl_and_unknown_ones_are_refused():
    assert worker.config(dataclasses.replace(RECIPE, extra={"adam_beta2": 0.98}), use_cpu=True).adam_beta2 == 0.98
    with pytest.raises(ValueError, match=r"train.extra.adam_beta3 is not a field of TRL's SFTConfig"):
        worker.config(dataclasses.replace(RECIPE, extra={"adam_beta3": 0.98}), use_cpu=True)


def test_a_loss_that_is_not_finite_is_an_error(corpora: Path, tmp_path: Path):
    wild = dataclasses.replace(RECIPE, learning_rate=math.inf)
    with pytest.raises(ValueError, match="the loss is nan at step 2; lower train.learning_rate"):
        worker.train(spec(corpora, tmp_path, recipe=wild))
