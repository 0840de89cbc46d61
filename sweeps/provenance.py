"""Provenance: which code, packages and machine made a run. For the record only; nothing here enters a fingerprint."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "accelerate",
    "datasets",
    "hydra-core",
    "math-verify",
    "numpy",
    "peft",
    "pyarrow",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "vllm",
)
ENVIRONMENT = (
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_OFFLINE",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "RAY_JOB_ID",
    "ROCR_VISIBLE_DEVICES",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_ID",
    "TOKENIZERS_PARALLELISM",
    "TRANSFORMERS_OFFLINE",
)
"""The only environment variables that are written down: none of them can hold a secret."""

_SOURCES = ("*.py", "*.yaml", "*.toml")


def collect(repository: Path) -> dict[str, Any]:
    """Describe code, packages and machine, in some 50 ms and importing nothing heavy.

    Args:
        repository: The root of this project's working tree.

    Returns:
        JSON-able mapping: `git` (None outside a git checkout), `packages`, `python`, `platform`, `cpus`, `host`,
        `environment`.
    """
    return {
        "git": _git_state(repository),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "host": platform.node(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state(repository: Path) -> dict[str, Any] | None:
    """Commit and, where files differ from it, a hash that tells two such states apart."""
    try:
        commit = _git(repository, "rev-parse", "HEAD").decode().strip()
        changes = _git(repository, "diff", "HEAD", "--binary", "--no-ext-diff")
        new = _git(repository, "ls-files", "-z", "--others", "--exclude-standard", "--", *_SOURCES)
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, no repository, or no commit yet
    names = [name for name in new.decode("utf-8", "surrogateescape").split("\0") if name]
    dirty = bool(changes or names)
    return {"commit": commit, "dirty": dirty, "diff_sha256": _hash(repository, changes, names) if dirty else None}


def _git(repository: Path, *arguments: str) -> bytes:
    command = ["git", "--no-optional-locks", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True).stdout


def _hash(repository: Path, changes: bytes, names: Sequence[str]) -> str:
    digest = hashlib.sha256(changes)
    for name in names:
        digest.update(f"\0{name}\0".encode("utf-8", "surrogateescape"))
        try:
            digest.update((repository / name).read_bytes())
        except OSError:
            digest.update(b"unreadable")  # gone since it was listed, or a broken link
    return digest.hexdigest()
