"""What several rooms' tests need."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# On a loaded machine a slow example says nothing about the code; the same examples every time, so a failure is ours.
settings.register_profile("default", deadline=None, derandomize=True)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data beside the repository; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the published data is not at ../shared/data")
    return folder
