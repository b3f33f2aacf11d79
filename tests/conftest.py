from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and models; tests that need it skip where it is absent."""
    repository = Path(__file__).parents[1]
    path = repository / os.environ.get("COMMONSPACE_SHARED", "../shared")
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}; set COMMONSPACE_SHARED")
    return path.resolve()
