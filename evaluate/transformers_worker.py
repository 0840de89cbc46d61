"""Generation with transformers: ``python -m evaluate.transformers_worker SPEC.json`` (a `GenerateSpec`).

Prompts are sorted by length and run in left-padded batches with a key-value cache. Rows that have ended leave the
batch, and each completion is appended to the output as soon as it ends, so a killed run goes on with the unfinished
ones.

A sampled token is the inverse of the cumulative distribution at a uniform number drawn from a generator seeded with
(seed, problem, sample). A completion therefore does not depend on its neighbours in the batch, save for the rounding of
matrix products of different shapes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

# Read when torch loads. Threads that spin while they wait make generation on a shared machine some 15 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from peft import PeftModel
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import DynamicCache
from transformers.utils import logging as transformers_logging

from evaluate.spec import Completion, GenerateSpec, Sampling, read_completions
from schema import read_file

QUIET_INTERVAL = 10.0  # seconds between progress lines where stderr is not a terminal
COMPACT_BELOW = 0.75  # share of unfinished rows at which copying the cache costs less than carrying finished rows along


@dataclass(slots=True)
class Row:
    """One completion in the making."""

    problem_id: str
    sample: int
    prompt: list[int]
    tokens: list[int]


def main(argv: list[str]) -> int:
    """Run one spec; the exit status is 0, 1 with a one-line reason on stderr, or 130 after an interrupt."""
    if len(argv) != 1:
        print("usage: python -m evaluate.transformers_worker SPEC.json", file=sys.stderr)
        return 1
    try:
        run(read_file(GenerateSpec, Path(argv[0])))
    except KeyboardInterrupt:
        return 130
    except torch.OutOfMemoryError as error:
        print(f"error: out of memory, lower evaluate.engine.batch_size ({first_line(error)})", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"error: {first_line(error)}", file=sys.stderr)
        return 1
    return 0


def run(spec: GenerateSpec) -> None:
    """Generate what `spec.out` still lacks and write ``metrics.json`` beside it.

    Raises:
        OSError: model, adapter or prompts are missing, or the disk is full.
        ValueError: the tokenizer has no chat template, or a file cannot be read as what it should be.
    """
    if spec.engine.threads is not None:
        torch.set_num_threads(spec.engine.threads)
    device = pick_device(spec.engine.device)
    tokenizer, model = load(spec, device)
    out = Path(spec.out)
    drop_torn_line(out)
    done = {(c.problem_id, c.sample) for c in read_completions(out)}
    rows = [row for row in read_rows(spec, tokenizer) if (row.problem_id, row.sample) not in done]
    rows.sort(key=lambda row: len(row.prompt), reverse=True)

    started = time.perf_counter()
    progress = Progress(total=len(rows) + len(done), done=len(done))
    with out.open("a", encoding="utf-8") as file, contextlib.closing(progress):
        for start in range(0, len(rows), spec.engine.batch_size):
            batch = rows[start : start + spec.engine.batch_size]
            for completion in generate(model, tokenizer, batch, spec.sampling, device, progress):
                append(file, completion)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    write_metrics(spec, model, device, rows, len(done), seconds)


def load(spec: GenerateSpec, device: torch.device) -> tuple[Any, Any]:
    """Tokenizer and model of `spec`, the adapter put on or folded in, in evaluation mode on `device`."""
    transformers_logging.disable_progress_bar()
    for name, path in (("model", spec.model), ("tokenizer", spec.tokenizer)):
        if path is not None and path.startswith((".", "/", "~")) and not Path(path).is_dir():
            raise FileNotFoundError(f"{name} folder {path} does not exist")
    if spec.adapter is not None and not (Path(spec.adapter) / "adapter_config.json").is_file():
        raise FileNotFoundError(f"adapter folder {spec.adapter} has no adapter_config.json")
    tokenizer = AutoTokenizer.from_pretrained(
        spec.tokenizer or spec.model, revision=spec.revision if spec.tokenizer is None else None
    )
    if tokenizer.chat_template is None:
        raise ValueError(f"the tokenizer of {spec.tokenizer or spec.model} has no chat template")
    model = AutoModelForCausalLM.from_pretrained(spec.model, revision=spec.revision, dtype=spec.engine.dtype)
    if spec.adapter is not None:
        model = PeftModel.from_pretrained(model, spec.adapter)
        if spec.engine.merge:
            model = model.merge_and_unload()
    return tokenizer, model.to(device).eval()


def pick_device(name: str) -> torch.device:
    """The torch device for a `device` setting; ``auto`` takes a GPU where there is one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("evaluate.engine.device=cuda, but torch sees no GPU")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def read_rows(spec: GenerateSpec, tokenizer: Any) -> list[Row]:
    """One `Row` per problem and sample, the chat template applied."""
    system = [] if spec.system_prompt is None else [{"role": "system", "content": spec.system_prompt}]
    rows: list[Row] = []
    with Path(spec.prompts).open(encoding="utf-8") as file:
        for line in file:
            item = json.loads(line)
            turns = [*system, {"role": "user", "content": item["prompt"]}]
            text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
            rows += [Row(item["problem_id"], sample, prompt, []) for sample in range(spec.sampling.samples)]
    return rows


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Ids that end a completion: those of the model's generation config and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured]) | {tokenizer.eos_token_id}
    ids.discard(None)
    if not ids:
        raise ValueError("neither the model's generation config nor the tokenizer names an end-of-sequence token")
    return sorted(ids)


@torch.inference_mode()
def generate(
    model: Any, tokenizer: Any, batch: list[Row], sampling: Sampling, device: torch.device, progress: Progress
) -> Iterator[Completion]:
    """Yield the completion of every row of `batch`, each as soon as it ends."""
    ends = torch.tensor(end_tokens(model, tokenizer), device=device)
    width = max(len(row.prompt) for row in batch)
    inputs = torch.tensor([[0] * (width - len(row.prompt)) + row.prompt for row in batch], device=device)
    mask = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in batch], device=device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    noise = uniforms(batch, sampling).to(device) if sampling.temperature > 0 else None
    cache = DynamicCache(config=model.config)
    rows = list(batch)
    alive = list(range(len(rows)))

    for step in range(sampling.max_new_tokens):
        logits = model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = logits.argmax(-1) if noise is None else draw(logits, noise[:, step], sampling)
        ended = torch.isin(chosen, ends).tolist()
        tokens = chosen.tolist()
        progress.advance(tokens=len(alive))
        for index in alive:
            rows[index].tokens.append(tokens[index])
            if ended[index] or step + 1 == sampling.max_new_tokens:
                yield finish(rows[index], tokenizer, ended[index])
                progress.advance(completions=1)
        alive = [index for index in alive if not ended[index]]
        if not alive:
            return
        inputs, positions = chosen[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=-1)
        if len(alive) < COMPACT_BELOW * len(rows):
            keep = torch.tensor(alive, device=device)
            cache.batch_select_indices(keep)
            inputs, positions, mask = inputs[keep], positions[keep], mask[keep]
            noise = noise[keep] if noise is not None else None
            rows = [rows[index] for index in alive]
            alive = list(range(len(rows)))


def uniforms(rows: list[Row], sampling: Sampling) -> torch.Tensor:
    """Uniform numbers in [0, 1), one row per completion and one column per token; float64."""
    columns: list[torch.Tensor] = []
    for row in rows:
        key = json.dumps([sampling.seed, row.problem_id, row.sample]).encode()
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key).digest()[:7], "big"))
        columns.append(torch.rand(sampling.max_new_tokens, generator=generator, dtype=torch.float64))
    return torch.stack(columns)


def draw(logits: torch.Tensor, uniform: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Sampled token ids, shape (rows,), from logits of shape (rows, vocabulary) and one uniform number per row.

    Tokens are ordered by probability, so that `top_p` keeps a prefix: the fewest tokens that reach it together.
    """
    ordered, ids = (logits.double() / sampling.temperature).softmax(-1).sort(-1, descending=True)
    mass = ordered.cumsum(-1)
    kept = ordered.masked_fill(mass - ordered >= sampling.top_p, 0.0).cumsum(-1)
    rank = torch.searchsorted(kept, uniform[:, None] * kept[:, -1:], right=True)
    return ids.gather(-1, rank.clamp(max=ids.shape[-1] - 1))[:, 0]


def finish(row: Row, tokenizer: Any, ended: bool) -> Completion:
    """The completion of a row, without its end token. Special tokens stay: format tags may be among them."""
    kept = row.tokens[:-1] if ended else row.tokens
    text = tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return Completion(row.problem_id, row.sample, text, len(row.tokens), "stop" if ended else "length")


def append(file: TextIO, completion: Completion) -> None:
    """Write one line and hand it to the operating system, so that SIGKILL loses nothing that was finished."""
    file.write(json.dumps(asdict(completion), ensure_ascii=False) + "\n")
    file.flush()


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed run left after the last newline."""
    if path.is_file():
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def write_metrics(
    spec: GenerateSpec, model: Any, device: torch.device, rows: list[Row], resumed: int, seconds: float
) -> None:
    """Write ``metrics.json`` beside the completions; tokens and seconds are of this process, not of a killed one."""
    tokens = sum(len(row.tokens) for row in rows)
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    metrics = {
        "completions": len(rows) + resumed,
        "resumed": resumed,
        "tokens": tokens,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1) if rows else None,
        "engine": "transformers",
        "served": None if spec.adapter is None else "merged" if spec.engine.merge else "adapter",
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": f"{device.type} ({device_name})",
        "threads": torch.get_num_threads(),
        "packages": {
            name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "tokenizers")
        },
    }
    path = Path(spec.out).with_name("metrics.json")
    partial = path.with_name("metrics.json.tmp")
    partial.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


class Progress:
    """Completions done and tokens per second on stderr: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, done: int) -> None:
        """Start at `done` of `total` completions."""
        self._total, self._done, self._tokens = total, done, 0
        self._started = self._shown = time.monotonic()
        self._bar = tqdm(total=total, initial=done, unit="completion") if sys.stderr.isatty() else None

    def advance(self, completions: int = 0, tokens: int = 0) -> None:
        """Count finished completions and generated tokens, and show them if it is time."""
        self._done += completions
        self._tokens += tokens
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(self._rate(now), refresh=False)
            self._bar.update(completions)
        elif now - self._shown >= QUIET_INTERVAL:
            self._shown = now
            print(f"{self._done}/{self._total} completions, {self._rate(now)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Show the last state."""
        if self._bar is not None:
            self._bar.close()
        else:
            now = time.monotonic()
            print(f"{self._done}/{self._total} completions, {self._rate(now)}", file=sys.stderr, flush=True)

    def _rate(self, now: float) -> str:
        return f"{self._tokens / max(now - self._started, 1e-9):,.0f} tokens/s"


def first_line(error: BaseException) -> str:
    """The first line of a message; the hub client and torch append paragraphs."""
    return str(error).strip().split("\n")[0] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
