"""What every store promises; a second kind joins as another address in `place`."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from commonspace.pipeline.errors import StoreFailed, UserMistake
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.storage.store import Store, open_store
from tests.support.checkout import REPOSITORY

WRITERS = 8


@pytest.fixture(params=["local", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a fresh store of each kind; `open_store` opens it, in any process."""
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket"))
    return str(tmp_path / "warehouse")


@pytest.fixture
def store(place: str) -> Store:
    return open_store(place)


def read(store: Store, key: str) -> bytes | None:
    data = store.read(key)
    return None if data is None else data.to_pybytes()


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


def test_a_list_has_no_last_page(store: Store) -> None:
    """Object stores list a thousand keys at a time."""
    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(lambda n: store.put(f"many/{n:04}", b""), range(1003)))
    assert store.list("many") == [f"many/{n:04}" for n in range(1003)]
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
    inside: list[int] = []

    def work(worker: int) -> None:
        with open_store(place).lock("a/.promotion"):
            inside.append(worker)
            time.sleep(0.02)
            assert inside == [worker]
            inside.clear()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert open_store(place).list("") == []


def test_a_reader_keeps_what_it_has_read(store: Store) -> None:
    store.put("a", b"old" * 10_000)
    held = store.read("a")
    assert held is not None
    store.put("a", b"new")
    store.delete("a")
    assert held.to_pybytes() == b"old" * 10_000


def create_each(store: Store, writer: int) -> list[int]:
    """The keys that this writer won."""
    return [n for n in range(20) if store.put_if_absent(f"race/{n}", b"%d" % writer * 50_000)]


def increment(store: Store, writer: int) -> list[int]:
    for _ in range(4):
        while True:
            data = store.read("count")
            found = None if data is None else data.to_pybytes()
            if store.compare_and_swap("count", found, b"%d" % (int(found or b"0") + 1)):
                break
    return []


def swap_from_none(store: Store, writer: int) -> list[int]:
    return [writer] if store.compare_and_swap("first", None, b"%d" % writer) else []


Work = Callable[[Store, int], list[int]]
Race = Callable[[Work], list[list[int]]]


def in_threads(place: str, work: Work) -> list[list[int]]:
    with ThreadPoolExecutor(WRITERS) as threads:
        return list(threads.map(lambda writer: work(open_store(place), writer), range(WRITERS)))


def in_processes(place: str, work: Work) -> list[list[int]]:
    """Processes that start at once, when the last of them is ready."""
    script = (
        "from __future__ import annotations\n"
        "import json, sys\n"
        "from commonspace.pipeline.storage.store import Store, open_store\n"
        f"{inspect.getsource(work)}\n"
        "print('ready', flush=True), sys.stdin.readline()\n"
        f"print(json.dumps({work.__name__}(open_store(sys.argv[1]), int(sys.argv[2]))))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, place, str(writer)], cwd=REPOSITORY, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for writer in range(WRITERS)
    ]  # fmt: skip
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate()[0]) for process in started]


@pytest.fixture(params=[in_threads, in_processes])
def race(request: pytest.FixtureRequest, place: str) -> Race:
    """Does the work of each writer, all at once; what each of them answers."""
    return lambda work: request.param(place, work)


def test_of_racing_creators_one_wins(store: Store, race: Race) -> None:
    wins = race(create_each)
    winner = {n: writer for writer, won in enumerate(wins) for n in won}
    assert sum(map(len, wins)) == len(winner) == 20
    for n, writer in winner.items():
        assert read(store, f"race/{n}") == b"%d" % writer * 50_000
    assert len(store.list("")) == 20


def test_racing_swaps_lose_no_increment(store: Store, race: Race) -> None:
    race(increment)
    assert read(store, "count") == b"%d" % (4 * WRITERS)


def test_of_racing_first_swaps_one_wins(store: Store, race: Race) -> None:
    ((winner,),) = [won for won in race(swap_from_none) if won]
    assert read(store, "first") == b"%d" % winner


def test_a_reader_sees_the_old_or_the_new_whole(store: Store) -> None:
    store.put("a", b"0" * 300_000)
    done = threading.Event()
    seen: set[bytes] = set()

    def watch() -> None:
        while not done.is_set():
            data = read(store, "a")
            seen.add(b"absent" if data is None else bytes(set(data)) + b"%d" % len(data))
            assert store.list("") == ["a"]

    with ThreadPoolExecutor(2) as readers:
        watching = [readers.submit(watch) for _ in range(2)]
        for n in range(60):
            store.put("a", b"%d" % (n % 10) * 300_000)
        done.set()
        for watcher in watching:
            watcher.result()
    assert len(seen) > 1
    assert seen <= {b"%d300000" % n for n in range(10)}


# --- the local store alone ---------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")


@pytest.mark.parametrize("method", ["put_if_absent", "put", "compare_and_swap"])
@pytest.mark.parametrize("step", ["os.fsync", "os.link", "pathlib.Path.rename"])
def test_a_kill_leaves_no_half_of_a_key(method: str, step: str, local: LocalStore) -> None:
    """The process dies at the step; what it left is no key, and a twin succeeds."""
    reached = {
        "put_if_absent": "os.link",
        "put": "pathlib.Path.rename",
        "compare_and_swap": "pathlib.Path.rename",
    }
    local.put("old", b"before")
    key = "old" if method != "put_if_absent" else "new"
    call = {"put_if_absent": "put_if_absent(key, data)", "put": "put(key, data)",
            "compare_and_swap": "compare_and_swap(key, b'before', data)"}[method]  # fmt: skip
    script = (
        "import os, pathlib, sys\n"
        "from commonspace.pipeline.storage.local import LocalStore\n"
        "store, key, data = LocalStore(pathlib.Path(sys.argv[1])), sys.argv[2], b'x' * 100_000\n"
        f"{step} = lambda *_: os._exit(9)\n"
        f"store.{call}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(local.root), key], cwd=REPOSITORY,
        check=False,
    )  # fmt: skip
    assert done.returncode == (9 if step in {"os.fsync", reached[method]} else 0)
    after = b"x" * 100_000
    if done.returncode == 9:
        assert local.list("") == ["old"]
        assert read(local, "old") == b"before"
        assert any(path.suffix == ".tmp" for path in local.root.iterdir())
    assert local.put_if_absent("new", after) or key == "new"
    assert local.compare_and_swap("old", read(local, "old"), b"after")
    assert local.list("") == ["new", "old"]


def test_failed_writes_leave_nothing_behind(local: LocalStore) -> None:
    """A limit on files' sizes stands in for a full disk: a write fails half-way through."""
    local.put("old", b"before")
    script = (
        "import pathlib, resource, sys\n"
        "from commonspace.pipeline.errors import StoreFailed\n"
        "from commonspace.pipeline.storage.local import LocalStore\n"
        "store, data = LocalStore(pathlib.Path(sys.argv[1])), b'x' * 200_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "for write, *given in ((store.put_if_absent, 'new', data), (store.put, 'old', data),\n"
        "                      (store.compare_and_swap, 'old', b'before', data)):\n"
        "    try: write(*given)\n"
        "    except StoreFailed as error: print(error.retry, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(local.root)], cwd=REPOSITORY, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count("True ") == done.stdout.count("File too large") == 3
    assert read(local, "old") == b"before"
    assert sorted(path.name for path in local.root.iterdir()) == [".lock", "old"]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[LocalStore]:
    """A warehouse on a disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield LocalStore(disk / "warehouse")
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("method", ["put_if_absent", "put", "compare_and_swap"])
def test_a_full_disk_is_told_with_advice(method: str, tiny: LocalStore) -> None:
    tiny.put("old", b"before")
    calls: dict[str, Callable[[], object]] = {
        "put_if_absent": lambda: tiny.put_if_absent("new", b"x" * 500_000),
        "put": lambda: tiny.put("old", b"x" * 500_000),
        "compare_and_swap": lambda: tiny.compare_and_swap("old", b"before", b"x" * 500_000),
    }
    with pytest.raises(StoreFailed, match="No space left on device") as error:
        calls[method]()
    assert error.value.retry
    assert "disk is full" in str(error.value)
    assert tiny.list("") == ["old"]
    assert read(tiny, "old") == b"before"
    tiny.put("old", b"x" * 100_000)  # nothing of the failed write takes up the space


def test_a_warehouse_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = LocalStore(tmp_path / "file")
    for call in (lambda: store.read("a"), lambda: store.exists("a"),
                 lambda: store.put_if_absent("a", b"x"), lambda: store.put("a", b"x"),
                 lambda: store.compare_and_swap("a", None, b"x")):  # fmt: skip
        with pytest.raises(StoreFailed, match="the warehouse failed") as error:
            call()
        assert error.value.item == str(tmp_path / "file" / "a")


def test_a_folder_is_no_object(local: LocalStore) -> None:
    local.put_if_absent("a/b", b"x")
    for call in (
        lambda: local.read("a"),
        lambda: local.exists("a"),
        lambda: local.put("a", b"x"),
        lambda: local.delete("a"),
        lambda: local.compare_and_swap("a", b"x", b"y"),
    ):
        with pytest.raises(StoreFailed):
            call()
    assert not local.put_if_absent("a", b"x")
    assert local.list("") == ["a/b"]


@pytest.mark.parametrize("root", ["/proc/commonspace", "/sys/commonspace"])
def test_a_place_that_cannot_be_written_is_told(root: str) -> None:
    if not Path(root).parent.is_dir():
        pytest.skip(f"no {Path(root).parent} here")
    with pytest.raises(StoreFailed, match="the warehouse failed") as error:
        LocalStore(Path(root)).put_if_absent("a", b"x")
    assert "run again" in str(error.value) or "Permission" in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_missing_permission_is_told_with_advice(local: LocalStore) -> None:
    local.put_if_absent("a/b", b"x")
    (local.root / "a").chmod(0o500)
    with pytest.raises(StoreFailed, match="Permission denied") as error:
        local.put_if_absent("a/c", b"x")
    assert "let this user write" in str(error.value)
    assert not error.value.retry


def test_a_read_only_disk_is_told_with_advice(tiny: LocalStore) -> None:
    tiny.put_if_absent("a", b"x")
    disk = str(tiny.root.parent)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(StoreFailed, match="Read-only file system") as error:
        tiny.put_if_absent("b", b"x")
    assert "COMMONSPACE_WAREHOUSE" in str(error.value)
    assert not error.value.retry
    assert read(tiny, "a") == b"x"


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
