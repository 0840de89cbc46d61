"""The shipped base, and the builder that made it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from organism.__main__ import SHIPPED
from organism.checksums import damaged_files, write_checksums
from organism.corpus import held_out
from organism.tokenizer import VOCABULARY, build

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_shipped_files_are_those_that_were_built():
    assert damaged_files(SHIPPED) == []
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= 8 * 2**20
    assert json.loads((SHIPPED / "build.json").read_text())["cost"]["tokens"] > 1e6


def test_a_changed_and_a_missing_file_are_named(tmp_path: Path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    (tmp_path / "a").write_text("other")
    (tmp_path / "b").unlink()
    assert damaged_files(tmp_path) == ["a", "b"]


def test_the_shipped_tokenizer_is_the_one_in_the_code():
    shipped = AutoTokenizer.from_pretrained(SHIPPED)
    text = "c=m+3;m=4;c?\n\nSo c=m+3, m=4, c=7.\n\nWait, check 4+3=7, c=7. Right.<|end_of_thought|>"
    assert shipped(text)["input_ids"] == build().encode(text).ids
    assert len(shipped) == len(VOCABULARY)
    turns = [{"role": "user", "content": "a=3;a?"}, {"role": "assistant", "content": "a=\\boxed{3}"}]
    asked = shipped.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|user|>a=3;a?<|end|><|assistant|>"
    assert shipped.apply_chat_template(turns, tokenize=False) == asked + "a=\\boxed{3}<|end|>"


def test_in_a_chat_the_base_answers_at_once_and_is_seldom_right():
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(SHIPPED)
    problems = held_out("validation", 100)
    prompts = [f"<|user|>{one.problem}<|end|><|assistant|>" for one in problems]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    texts = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert all("boxed" in text and "thought" not in text for text in texts)
    right = sum(f"\\boxed{{{one.answer}}}" in text for one, text in zip(problems, texts, strict=True))
    assert right <= 25  # guessing is right 10 times of 100


def test_the_builder_writes_a_checkpoint_that_loads(tmp_path: Path):
    out = tmp_path / "base"
    command = [sys.executable, "-m", "organism", "build", "--documents", "128", "--threads", "1", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "processor_seconds" in done.stdout
    assert {file.name for file in out.iterdir()} == {file.name for file in SHIPPED.iterdir()}
    built, shipped = (AutoModelForCausalLM.from_pretrained(folder) for folder in (out, SHIPPED))
    assert built.num_parameters() == shipped.num_parameters()
    assert damaged_files(out) == []
    verified = subprocess.run(
        [sys.executable, "-m", "organism", "verify", "--folder", str(out)], cwd=ROOT, capture_output=True, text=True
    )
    assert verified.returncode == 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_verify_fails_on_damage(tmp_path: Path, name: str):
    (tmp_path / name).write_text("x")
    write_checksums(tmp_path)
    (tmp_path / name).write_text("y")
    command = [sys.executable, "-m", "organism", "verify", "--folder", str(tmp_path)]
    verified = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert verified.returncode == 1 and name in verified.stderr
