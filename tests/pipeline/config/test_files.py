"""Collections are found by name, the warehouse by the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from commonspace.pipeline.config.files import collection_files, find_collection
from commonspace.pipeline.config.places import collections_folder, warehouse_address
from commonspace.pipeline.errors import UserMistake
from tests.pipeline.config.books import GOOD, Load


def test_finding_a_collection(load: Load, tmp_path: Path) -> None:
    load(GOOD)
    (tmp_path / "broken.toml").write_bytes(b"\xff[")
    (tmp_path / "deep.toml").write_bytes(b"a = " + b"[" * 100_000)
    assert find_collection("books", tmp_path).name == "books"
    assert find_collection(str(tmp_path / "books.toml")).name == "books"
    assert [path.stem for path in collection_files(tmp_path)] == ["books", "broken", "deep"]
    with pytest.raises(UserMistake, match=r"no collection 'bookz'.*did you mean 'books'"):
        find_collection("bookz", tmp_path)
    with pytest.raises(UserMistake, match="is not valid TOML"):
        find_collection("broken", tmp_path)
    with pytest.raises(UserMistake, match="no such folder"):
        find_collection("books", tmp_path / "nowhere")
    with pytest.raises(UserMistake, match="is a file, not the folder"):
        find_collection("books", tmp_path / "books.toml")


def test_finding_a_space_names_the_nearest(load: Load) -> None:
    found = load(GOOD)
    with pytest.raises(UserMistake, match=r"no space 'covr'.*did you mean 'cover'"):
        found.find_space("covr")
    with pytest.raises(UserMistake, match=r"no space 'blurb' v7"):
        found.find_space("blurb", 7)


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMONSPACE_COLLECTIONS", raising=False)
    monkeypatch.delenv("COMMONSPACE_WAREHOUSE", raising=False)
    assert (collections_folder(), warehouse_address()) == (Path("dags/collections"), "./warehouse")
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", "/c")
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", "/w")
    assert (collections_folder(), warehouse_address()) == (Path("/c"), "/w")
