"""`python -m organism build`: pretrain the base model from nothing and say what it cost."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from organism.checksums import damaged_files

SHIPPED = Path(__file__).parent / "base"


def main() -> int:
    """Command line; exit status 1 where `verify` finds damage."""
    parser = argparse.ArgumentParser(prog="python -m organism", description="The embedded default's base model.")
    commands = parser.add_subparsers(dest="command", required=True)
    builder = commands.add_parser("build", help="pretrain the base from nothing; base/build.json says what it cost")
    builder.add_argument("--out", type=Path, default=SHIPPED, help="checkpoint folder to write (default: %(default)s)")
    builder.add_argument("--threads", type=int, default=None, help="CPU threads (default: all processors)")
    builder.add_argument("--documents", type=int, default=None, help="pretraining documents (default: the recipe's)")
    builder.add_argument("--seed", type=int, default=None, help="seed of weights and documents (default: the recipe's)")
    checker = commands.add_parser("verify", help="compare the shipped files with their checksums")
    checker.add_argument("--folder", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    if arguments.command == "verify":
        return _verify(arguments.folder)
    return _build(arguments)


def _build(arguments: argparse.Namespace) -> int:
    from organism.build import Recipe, build, default_threads

    given = {key: value for key in ("documents", "seed") if (value := getattr(arguments, key)) is not None}
    recipe = dataclasses.replace(Recipe(), **given)
    cost = build(recipe, arguments.out, arguments.threads or default_threads())
    print(f"wrote {arguments.out}\n{json.dumps(cost, indent=2)}")
    return 0


def _verify(folder: Path) -> int:
    damaged = damaged_files(folder)
    for name in damaged:
        print(f"error: {folder / name} is missing or differs from SHA256SUMS", file=sys.stderr)
    if not damaged:
        print(f"{folder}: every file matches SHA256SUMS")
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main())
