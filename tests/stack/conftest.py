from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.client import Stack
from tests.stack.running import running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Last come those that share a stack, which ends with the session: so one runs at a time."""
    items.sort(key=lambda item: "celery_collections" in getattr(item, "fixturenames", ()))


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may pass through; pytest's own is its owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder of the module's own."""
    with open_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def celery_collections() -> Iterator[Path]:
    """What the stack of Celery workers runs; each module adds its own."""
    with open_folder() as folder:
        (folder / "collections").mkdir()
        yield folder / "collections"


@pytest.fixture(scope="session")
def celery_stack(celery_collections: Path) -> Iterator[Stack]:
    """One for all modules, with a bucket: starting one takes a minute."""
    folder = celery_collections.parent / "stack"
    with running(folder, celery_collections, "--warehouse", "bucket") as started:
        yield started
