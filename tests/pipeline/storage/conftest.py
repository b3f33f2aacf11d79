from __future__ import annotations

from pathlib import Path

import pytest

from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.storage.store import Store, open_store


@pytest.fixture(params=["local", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh store of each kind; `open_store` opens it, in any process."""
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket"))
    return str(tmp_path / "warehouse")


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")
