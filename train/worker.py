"""Fine-tune one arm: `accelerate launch -m train.worker SPEC.json` (see :class:`train.spec.TrainSpec`).

The only module that imports torch, TRL and PEFT for training. It resumes from the last whole checkpoint under OUT, and
writes the adapter, the loss curve and the metrics when it is done.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import torch
import transformers
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, ProgressCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from schema import read_file
from train.rows import Row, read_rows
from train.spec import Recipe, TrainSpec

WHOLE = "whole"  # marker file: everything of this checkpoint is on disk


class Kept(NamedTuple):
    """The rows an arm trains on, and what was left out."""

    rows: list[Row]
    tokens: int
    """Tokens of one epoch."""
    baseline_rows: int
    """Rows that the unperturbed arm trains on; they set the number of steps of every arm."""
    too_long: int
    """Rows dropped in every arm, because the unperturbed one is too long."""
    newly_too_long: int
    """Rows dropped in this arm alone."""


def train(spec: TrainSpec) -> None:
    """Fine-tune as the spec says; every output is under `spec.out`.

    Raises:
        ValueError: the chat template loses text, too many demonstrations are too long, none is left, or the loss is
            no finite number any more.
    """
    started = time.monotonic()
    out = Path(spec.out)
    tokenizer = AutoTokenizer.from_pretrained(
        spec.model, revision=spec.revision, trust_remote_code=spec.trust_remote_code
    )
    if spec.eos_token:
        tokenizer.eos_token = spec.eos_token
    kept = keep_rows(spec, tokenizer)
    trainer = _trainer(spec, tokenizer, kept)
    loaded = time.monotonic()
    trainer.train(resume_from_checkpoint=_last_checkpoint(out / "checkpoints"))
    trained = time.monotonic()
    losses = [log for log in trainer.state.log_history if "loss" in log]
    _save(trainer, tokenizer, spec)
    if trainer.is_world_process_zero():
        metrics = _metrics(trainer, kept, spec) | {
            "load_seconds": round(loaded - started, 2),
            "train_seconds": round(trained - loaded, 2),
        }
        (out / "loss.jsonl").write_text("".join(json.dumps(log) + "\n" for log in losses), encoding="utf-8")
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(out / "checkpoints", ignore_errors=True)


def config(recipe: Recipe, **fields: Any) -> SFTConfig:
    """The SFTConfig of a recipe; `fields` are those that depend on the machine and the run.

    Raises:
        ValueError: `train.extra` names a field that SFTConfig does not have, or a value it refuses.
    """
    known = {f.name for f in dataclasses.fields(SFTConfig)}
    if unknown := sorted(recipe.extra.keys() - known):
        raise ValueError(f"train.extra.{unknown[0]} is not a field of TRL's SFTConfig")
    try:
        return SFTConfig(
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.scheduler,
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.max_grad_norm,
            max_length=recipe.max_length,
            completion_only_loss=True,
            packing=False,
            report_to="none",
            logging_nan_inf_filter=False,  # else a loss that is no number is logged as 0
            **fields,
            **recipe.extra,
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"TRL's SFTConfig refuses train={recipe.name}: {error}") from error


def lora_config(recipe: Recipe) -> LoraConfig | None:
    """The LoraConfig of a recipe, or None for full fine-tuning."""
    if recipe.lora is None:
        return None
    lora = recipe.lora
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
    )


def keep_rows(spec: TrainSpec, tokenizer: Any) -> Kept:
    """Drop what is too long, in this arm or in the unperturbed one; check what the chat template does to the rest."""
    limit = spec.recipe.max_length
    baseline = read_rows(Path(spec.baseline))
    lengths = _lengths(baseline, tokenizer)
    kept_ids = {row.id for row, length in zip(baseline, lengths, strict=True) if length <= limit}
    too_long = {row.id for row in baseline} - kept_ids
    arm = [row for row in read_rows(Path(spec.corpus)) if row.id not in too_long]
    arm_lengths = _lengths(arm, tokenizer)
    rows = [row for row, length in zip(arm, arm_lengths, strict=True) if length <= limit]
    newly = len(arm) - len(rows)
    if newly > spec.recipe.max_newly_too_long * len(kept_ids):
        raise ValueError(
            f"{newly} of {len(kept_ids)} demonstrations are longer than train.max_length={limit} tokens in this arm, "
            "but not in the unperturbed one; raise train.max_length, or train.max_newly_too_long if that bias is wanted"
        )
    if not rows:
        raise ValueError(
            f"none of {len(baseline)} demonstrations fits train.max_length={limit} tokens (shortest: "
            f"{min(lengths, default=0)}); raise train.max_length"
        )
    tokens = sum(length for length in arm_lengths if length <= limit)
    return Kept(rows, tokens, len(kept_ids), len(too_long), newly)


def _lengths(rows: list[Row], tokenizer: Any) -> list[int]:
    """Tokens of each row as it will be trained; refuses a chat template that changes what is trained."""
    texts: list[str] = []
    for row in rows:
        prompt = tokenizer.apply_chat_template(row.prompt, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(row.prompt + row.completion, tokenize=False)
        content = row.completion[0]["content"]
        if not whole.startswith(prompt):
            raise ValueError("the chat template renders the prompt differently once an answer follows it")
        if not whole[len(prompt) :].lstrip().startswith(content.strip()):
            raise ValueError(f"the chat template changes the response of demonstration {row.id}")
        if tokenizer.eos_token not in whole[len(prompt) + len(content.strip()) :]:
            raise ValueError(f"the chat template does not end an answer with the stop token {tokenizer.eos_token!r}")
        texts.append(whole)
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def _trainer(spec: TrainSpec, tokenizer: Any, kept: Kept) -> SFTTrainer:
    recipe, split = spec.recipe, spec.split
    # The unperturbed arm sets the number of steps, so that arms with fewer rows left train as long.
    steps = recipe.max_steps or math.ceil(kept.baseline_rows / recipe.batch_size * recipe.epochs)
    arguments = config(
        recipe,
        output_dir=str(Path(spec.out) / "checkpoints"),
        seed=spec.seed,
        max_steps=steps,
        warmup_steps=round(recipe.warmup_ratio * steps),
        per_device_train_batch_size=split.micro_batch,
        gradient_accumulation_steps=split.accumulation,
        gradient_checkpointing=spec.gradient_checkpointing,
        bf16=spec.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(1, steps // 50),
        save_strategy="steps",
        save_steps=spec.checkpoint_every,
        save_total_limit=2,
    )
    model = AutoModelForCausalLM.from_pretrained(
        spec.model,
        revision=spec.revision,
        dtype=getattr(torch, spec.dtype),
        trust_remote_code=spec.trust_remote_code,
    )
    model.config.use_cache = False
    rows = [{"prompt": row.prompt, "completion": row.completion} for row in kept.rows]
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora_config(recipe),
        callbacks=[_MarkWhole(), _StopAtNan()],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_Bar())
    return trainer


class _Bar(ProgressCallback):
    """The progress bar, with the loss in it instead of a line per log entry."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Show the newest loss."""
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix(loss=logs["loss"])


class _StopAtNan(TrainerCallback):
    """Ends a run whose loss is no number any more: every further hour is lost."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Look at the newest loss."""
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            raise ValueError(f"the loss is {logs['loss']} at step {state.global_step}; lower train.learning_rate")


class _MarkWhole(TrainerCallback):
    """Marks a checkpoint once all of it is written: a kill can leave the newest one in pieces."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the marker; called by the trainer after its last file."""
        del control
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()


def _last_checkpoint(folder: Path) -> str | None:
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _save(trainer: SFTTrainer, tokenizer: Any, spec: TrainSpec) -> None:
    target = Path(spec.out) / ("adapter" if spec.recipe.lora else "model")
    trainer.save_model(str(target))
    if trainer.is_world_process_zero():
        if spec.recipe.lora:
            # PEFT writes the base's path; a path of this machine means nothing elsewhere.
            file = target / "adapter_config.json"
            names = {"base_model_name_or_path": spec.base_name, "revision": spec.revision}
            file.write_text(json.dumps(json.loads(file.read_text()) | names, indent=2) + "\n", encoding="utf-8")
        tokenizer.save_pretrained(target)
        (target / "training_args.bin").unlink(missing_ok=True)  # a pickle, and nobody's input


def _metrics(trainer: SFTTrainer, kept: Kept, spec: TrainSpec) -> dict[str, Any]:
    steps = trainer.state.global_step
    examples = steps * spec.recipe.batch_size
    return {
        "loss": trainer.state.log_history[-1].get("train_loss"),
        "steps": steps,
        "examples": examples,
        "demonstrations": len(kept.rows),
        "too_long": kept.too_long,
        "newly_too_long": kept.newly_too_long,
        "tokens": round(kept.tokens * examples / len(kept.rows)),
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "processes": spec.split.processes,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def main() -> int:
    """Command line: the path of the spec; with ``--check`` before it, TRL and PEFT are only asked to accept it."""
    *options, path = sys.argv[1:]
    try:
        spec = read_file(TrainSpec, Path(path))
        if options == ["--check"]:
            config(spec.recipe, use_cpu=True)
            lora_config(spec.recipe)
        else:
            train(spec)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
