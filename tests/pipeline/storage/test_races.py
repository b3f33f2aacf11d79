"""Processes and threads that write to one store at once, and writers that are killed."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.storage.store import Store, open_store
from tests.pipeline.storage.store_contents import increment, read
from tests.support.checkout import REPOSITORY

WRITERS = 8


def create_each(store: Store, writer: int) -> list[int]:
    """The keys that this writer won."""
    return [n for n in range(20) if store.put_if_absent(f"race/{n}", b"%d" % writer * 50_000)]


def add_four(store: Store, writer: int) -> list[int]:
    increment(store, "count", times=4)
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
        "from tests.pipeline.storage.store_contents import increment\n"
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


@pytest.fixture(params=[in_threads, pytest.param(in_processes, marks=pytest.mark.crash)])
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
    race(add_four)
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
