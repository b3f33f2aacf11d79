"""A write in progress is listed as what it is, and as nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonspace.pipeline.storage.local import LocalStore


@pytest.mark.parametrize("write", ["put", "put_if_absent", "compare_and_swap"])
def test_what_is_not_in_place_yet_is_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    store = LocalStore(tmp_path)
    seen: list[tuple[list[str], list[str]]] = []
    flush = os.fsync

    def flushing(handle: int) -> None:
        seen.append((sorted(store.list_temporary("")), store.list("")))
        flush(handle)

    monkeypatch.setattr(os, "fsync", flushing)
    arguments = {"compare_and_swap": (None, b"data")}.get(write, (b"data",))
    getattr(store, write)("folder/key", *arguments)
    unfinished = [temporary for temporary, listed in seen if temporary and not listed]
    assert unfinished, "a killed write leaves what cleanup finds"
    for temporary in unfinished:
        assert [os.path.dirname(key) for key in temporary] == ["folder"]  # noqa: PTH120
    assert store.list("") == ["folder/key"]
    assert store.list_temporary("") == {}


def test_what_others_left_below_a_folder_is_flushed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    for key in ("data/a", "data/deep/b", "elsewhere/c"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"x")
    flushed: list[str] = []
    flush = os.fsync

    def flushing(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink().relative_to(tmp_path)))
        flush(handle)

    monkeypatch.setattr(os, "fsync", flushing)
    store.flush("data")
    assert sorted(flushed) == ["data", "data/a", "data/deep", "data/deep/b"]
    store.flush("nothing")
