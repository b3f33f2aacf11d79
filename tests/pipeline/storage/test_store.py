"""What every store promises; a second kind joins as another address in `place`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.storage.store import Store, open_store
from tests.pipeline.storage.store_contents import read
from tests.pipeline.storage.taking_turns import assert_threads_take_turns


def test_an_absent_key_reads_as_none(store: Store) -> None:
    assert store.read("a/b") is None
    assert store.list("") == store.list("a") == []
    store.delete("a/b")


def test_a_key_exists_once_it_is_written_and_until_it_is_deleted(store: Store) -> None:
    assert not store.exists("a/b")
    store.put("a/b", b"")
    store.put("a/.hidden", b"x")
    assert store.exists("a/b")
    assert store.exists("a/.hidden")
    assert not store.exists("a/b2")
    assert not store.exists("b")
    store.delete("a/b")
    assert not store.exists("a/b")


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 20_000_000], ids=["empty", "one", "large"])
@pytest.mark.parametrize("kind", [bytes, pa.py_buffer])
def test_what_is_written_is_read(data: bytes, kind: Callable[[bytes], bytes], store: Store) -> None:
    assert store.put_if_absent("a/created", kind(data))
    store.put("a/replaced", kind(data))
    assert store.compare_and_swap("a/swapped", None, data)
    assert store.list("a") == ["a/created", "a/replaced", "a/swapped"]
    assert [read(store, key) for key in store.list("a")] == [data] * 3


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "a/b/c/d/e",
        "p=2024-01-01/x.parquet",
        "p=é 日本/x",
        "p=%2F/x",
        "a b",
        "x" * 200,
        "q?#&+;:'*|^`{}~",
        "a%20b+c",
        ".hidden/x",
    ],
)
def test_keys_are_kept_as_they_are(key: str, store: Store) -> None:
    store.put(key, b"x")
    assert store.list("") == [key]
    assert read(store, key) == b"x"


def test_create_never_overwrites(store: Store) -> None:
    assert store.put_if_absent("a", b"first")
    assert not store.put_if_absent("a", b"second")
    assert read(store, "a") == b"first"
    store.put("a", b"third")
    assert not store.put_if_absent("a", b"fourth")
    assert read(store, "a") == b"third"
    store.delete("a")
    store.delete("a")
    assert store.put_if_absent("a", b"fifth")
    assert store.list("") == ["a"]


def test_swap_needs_what_is_there(store: Store) -> None:
    assert not store.compare_and_swap("a/CURRENT", b"x", b"y")
    assert store.compare_and_swap("a/CURRENT", None, b"1")
    assert not store.compare_and_swap("a/CURRENT", None, b"2")
    assert not store.compare_and_swap("a/CURRENT", b"", b"2")
    assert store.compare_and_swap("a/CURRENT", b"1", b"2")
    assert not store.compare_and_swap("a/CURRENT", b"1", b"3")
    assert read(store, "a/CURRENT") == b"2"
    assert store.list("a") == ["a/CURRENT"]


def test_list_is_of_a_folder_sorted(store: Store) -> None:
    for key in ("b/2", "b/10", "b/c/1", "bb/1", "a"):
        store.put_if_absent(key, b"x")
    assert store.list("b") == ["b/10", "b/2", "b/c/1"]
    assert store.list("b/") == store.list("b")
    assert store.list("b/c") == ["b/c/1"]
    assert store.list("") == ["a", "b/10", "b/2", "b/c/1", "bb/1"]
    assert store.list("nothing") == store.list("a/x") == []


@pytest.mark.parametrize("count", [203, pytest.param(1003, marks=pytest.mark.crash)])
def test_a_list_has_no_last_page(count: int, store: Store) -> None:
    """Buckets list a thousand keys at a time, this one a hundred; a request deletes a thousand."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: store.put(f"many/{n:04}", b""), range(count)))
    assert store.list("many") == [f"many/{n:04}" for n in range(count)]
    store.delete_prefix("many")
    assert store.list("") == []


def test_folders_are_those_right_below(store: Store) -> None:
    for key in ("a/v1/x", "a/v10/x", "a/v2/y/z", "a/file", "b/x"):
        store.put_if_absent(key, b"x")
    assert store.folders("") == ["a", "b"]
    assert store.folders("a") == store.folders("a/") == ["v1", "v10", "v2"]
    assert store.folders("a/v2") == ["y"]
    assert store.folders("nothing") == store.folders("a/file") == store.folders("b") == []


def test_what_is_hidden_is_not_listed_and_goes_with_its_folder(store: Store) -> None:
    for key in ("a/.lock", "a/b/.tmp", "a/b/c"):
        store.put(key, b"x")
    assert store.list("a") == ["a/b/c"]
    store.delete_prefix("a")
    assert store.read("a/.lock") is None
    store.delete_prefix("a")
    assert store.list("") == store.folders("") == []


def test_the_time_of_writing_is_known(store: Store) -> None:
    store.put("a/b", b"x")
    (moment,) = store.list_with_mtime("a").values()
    assert abs(moment - time.time()) < 60


def test_holders_of_a_key_take_turns(place: str) -> None:
    assert_threads_take_turns(lambda: open_store(place).lock("a/.promotion"))
    assert open_store(place).list("") == []


def test_a_reader_keeps_what_it_has_read(store: Store) -> None:
    store.put("a", b"old" * 10_000)
    held = store.read("a")
    assert held is not None
    store.put("a", b"new")
    store.delete("a")
    assert held.to_pybytes() == b"old" * 10_000


def test_opening_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("./w").address == str(tmp_path / "w")
    assert not (tmp_path / "w").exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("~/w").address == str(tmp_path / "w")
    assert open_store("~/w").url("a/b") == str(tmp_path / "w/a/b")
    for address in ("s3://bucket/w", "s3://bucket/w/"):
        assert open_store(address).address == "s3://bucket/w"
        assert open_store(address).url("a/b") == "s3://bucket/w/a/b"
    assert open_store("s3://bucket").url("a/b") == "s3://bucket/a/b"
    for address in ("gs://bucket", "file:///w"):
        with pytest.raises(UserMistake, match="no warehouses on") as error:
            open_store(address)
        assert "s3://BUCKET" in str(error.value)
