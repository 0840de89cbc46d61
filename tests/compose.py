"""Compose the config as run.py does, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

import run

SETTINGS = run.SETTINGS


def composed(*overrides: str) -> dict[str, Any]:
    """The experiment part of the config under `overrides`, as plain values."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(Path(run.__file__).parent / "conf"), version_base="1.3"):
        config = compose("config", list(overrides))
    plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    return {key: value for key, value in plain.items() if key not in SETTINGS}
