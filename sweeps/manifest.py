"""Manifests: what a finished store entry consists of, and whether it still does."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sweeps.atomic import is_leftover, sync_folder, write_text
from sweeps.stage import Stage, canonical_json

NAME = "manifest.json"
_SCHEMA = 1
# File times tick every few milliseconds (seconds on some systems): a file changed this recently may change
# again without its times showing it.
_SETTLED_NS = 2_000_000_000

Signature = dict[str, list[int]]
"""Path -> [size in bytes, modification time, change time (ns), inode]."""


class Damaged(ValueError):
    """A store entry is not what its manifest says; the message says where."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as read."""

    files: Mapping[str, tuple[int, str]]
    """Path inside the entry, with "/" -> (size in bytes, sha256)."""
    seconds: float
    """How long the entry took to compute: the last run's time, where it was resumed."""


def seal(folder: Path, stage: Stage, seconds: float) -> None:
    """Make a folder durable and write its manifest, last.

    Temporary files that killed writers left behind are removed.

    Raises:
        OSError: If the disk is full or broken.
        ValueError: If the folder holds something else than files and folders.
    """
    (folder / NAME).unlink(missing_ok=True)
    files: dict[str, dict[str, object]] = {}
    for path in _walk(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(folder).as_posix()] = {"size": file.tell(), "sha256": digest}
    content: dict[str, object] = {
        "schema": _SCHEMA,
        "stage": json.loads(stage.canonical),
        "fingerprint": stage.fingerprint,
        "seconds": round(seconds, 3),
        "files": files,
    }
    content["sha256"] = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    write_text(folder / NAME, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read(folder: Path, fingerprint: str) -> Manifest:
    """Read and check the manifest of an entry, not its files.

    Raises:
        Damaged: If it is missing, unreadable, altered or another entry's.
    """
    try:
        content: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
        claimed = content.pop("sha256")
        files = {_inside(name): (item["size"], item["sha256"]) for name, item in content["files"].items()}
        actual = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    except FileNotFoundError:
        raise Damaged(f"{NAME} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{NAME} is not readable ({error})") from None
    if claimed != actual or content["schema"] != _SCHEMA:
        raise Damaged(f"{NAME} has been altered")
    if content["fingerprint"] != fingerprint:
        raise Damaged(f"{NAME} belongs to {content['fingerprint']}")
    return Manifest(files=files, seconds=content["seconds"])


def signature(folder: Path, manifest: Manifest) -> Signature:
    """What the file system says of an entry's files, without reading them.

    Raises:
        Damaged: If a file is missing, not a plain file, or of another size.
    """
    found: Signature = {}
    for name, (size, _) in manifest.files.items():
        try:
            status = os.lstat(folder / name)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{name} is missing") from None
        if not stat.S_ISREG(status.st_mode):
            raise Damaged(f"{name} is not a plain file")
        if status.st_size != size:
            raise Damaged(f"{name} has {status.st_size} bytes instead of {size}")
        found[name] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    return found


def check_content(folder: Path, manifest: Manifest) -> None:
    """Read every file of an entry and compare its sha256.

    Raises:
        Damaged: At the first file that differs.
    """
    for name, (_, expected) in manifest.files.items():
        try:
            with (folder / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Damaged(f"{name} cannot be read ({error.strerror})") from None
        if actual != expected:
            raise Damaged(f"{name} has sha256 {actual} instead of {expected}")


def is_settled(found: Signature) -> bool:
    """Whether any later change of these files must show in their times."""
    return max((changed for _, _, changed, _ in found.values()), default=0) + _SETTLED_NS < time.time_ns()


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent, name)
            if is_leftover(name):
                path.unlink()
            elif stat.S_ISREG(path.lstat().st_mode):
                yield path
            else:
                raise ValueError(f"{path} is not a plain file: a store entry holds copies, no links")
        for name in folders:
            if Path(parent, name).is_symlink():
                raise ValueError(f"{Path(parent, name)} is a link: a store entry holds copies, no links")
        folders.sort()
        sync_folder(Path(parent))


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Damaged(f"{NAME} names {name!r}, which is outside the entry")
    return name
