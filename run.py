"""Run one arm of an ablation, or a sweep of them: ``python run.py perturbation=shuffle_67 model=qwen32b``.

The only module that knows Hydra. It turns the composed config into an `Experiment` and hands it to `sweeps.pipeline`;
bad input ends here, with one message and exit status 2.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sweeps.experiment import from_config
from sweeps.launch import sigterm_as_interrupt
from sweeps.pipeline import Settings, run
from sweeps.record import RunFailed

ROOT = Path(__file__).resolve().parent
SETTINGS = ("store", "dry_run", "stop_after")

OmegaConf.register_new_resolver("root", lambda: str(ROOT), replace=True)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run the experiment that ``config`` describes."""
    try:
        plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
        settings = Settings(
            run_dir=Path(HydraConfig.get().runtime.output_dir), **{key: plain.pop(key) for key in SETTINGS}
        )
        with sigterm_as_interrupt():
            run(from_config(plain), settings)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, RunFailed, OmegaConfBaseException) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
