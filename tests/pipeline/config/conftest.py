from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.errors import UserMistake
from tests.pipeline.config.books import Load


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def run(text: str | bytes) -> Collection:
        path = tmp_path / "books.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_collection(path)

    return run


@pytest.fixture
def mistakes(load: Load) -> Callable[[str | bytes], list[str]]:
    """The lines of the one message that a file's mistakes are told in."""

    def run(text: str | bytes) -> list[str]:
        with pytest.raises(UserMistake) as error:
            load(text)
        assert error.value.exit_code == 2
        assert error.value.item
        assert error.value.item.endswith("books.toml")
        reported = str(error.value)
        assert "pydantic" not in reported
        assert "Section" not in reported
        assert "Value error" not in reported
        return [line.strip() for line in reported.splitlines()]

    return run
