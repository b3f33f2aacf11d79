"""Leases: taken in turns, renewed while they are held, broken when their holder is dead."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from commonspace.pipeline.errors import ContractBroken, StoreFailed
from commonspace.pipeline.storage.lease import lease
from commonspace.pipeline.storage.local import LocalStore
from tests.pipeline.storage.taking_turns import assert_threads_take_turns
from tests.support.checkout import REPOSITORY

SECONDS = 0.6


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def written(store: LocalStore) -> dict[str, object]:
    data = store.read(".lease")
    assert data is not None
    return dict(json.loads(data.to_pybytes()))


def test_holders_take_turns(store: LocalStore) -> None:
    assert_threads_take_turns(lambda: lease(store, ".lease", SECONDS))
    assert written(store)["until"] == 0.0


def test_a_lease_is_renewed_while_it_is_held(store: LocalStore) -> None:
    waited: list[float] = []

    def wait() -> None:
        began = time.monotonic()
        with lease(store, ".lease", SECONDS):
            waited.append(time.monotonic() - began)

    with lease(store, ".lease", SECONDS):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(3 * SECONDS)
        assert not waited
    waiting.join()
    assert waited[0] > 2.5 * SECONDS


def test_the_lease_of_a_killed_process_runs_out(store: LocalStore) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from commonspace.pipeline.storage.lease import lease\n"
        "from commonspace.pipeline.storage.local import LocalStore\n"
        f"with lease(LocalStore(pathlib.Path(sys.argv[1])), '.lease', {SECONDS}):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(store.root)], cwd=REPOSITORY, check=False)
    assert written(store)["until"] != 0.0
    began = time.monotonic()
    with lease(store, ".lease", SECONDS):
        assert time.monotonic() - began < 3 * SECONDS


def test_a_holder_with_a_fast_clock_is_not_waited_for(store: LocalStore) -> None:
    ahead = json.dumps({"owner": "another", "until": time.time() + 3600}).encode()
    store.put(".lease", ahead)
    began = time.monotonic()
    with lease(store, ".lease", SECONDS):
        assert SECONDS < time.monotonic() - began < 4 * SECONDS


@pytest.mark.parametrize("what", [b"", b"{}", b"null", b"\xff", b'{"until": "soon"}', b"[1]"])
def test_what_cannot_be_read_is_nobodys(what: bytes, store: LocalStore) -> None:
    store.put(".lease", what)
    began = time.monotonic()
    with lease(store, ".lease", SECONDS):
        assert time.monotonic() - began < SECONDS


def test_a_lease_that_was_broken_is_not_given_back(store: LocalStore) -> None:
    theirs = json.dumps({"owner": "another", "until": time.time() + 3600}).encode()
    with lease(store, ".lease", SECONDS):
        store.put(".lease", theirs)
        time.sleep(SECONDS)
    assert written(store)["owner"] == "another"


@pytest.mark.parametrize("what", [b"{}", b"\xff", b'{"owner": 1}'])
def test_a_lease_that_was_overwritten_is_not_renewed(what: bytes, store: LocalStore) -> None:
    with lease(store, ".lease", SECONDS):
        store.put(".lease", what)
        time.sleep(SECONDS)
    data = store.read(".lease")
    assert data is not None
    assert data.to_pybytes() == what


def test_an_error_of_the_block_is_the_one_reported(store: LocalStore) -> None:
    def fail() -> None:
        with lease(store, ".lease", SECONDS):
            (store.root / ".lease").unlink()
            (store.root / ".lease").mkdir()  # the store fails when the lease is given back
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(ContractBroken), lease(store, ".lease", SECONDS):
        pass


class Unanswered(LocalStore):
    """Carries a swap out and loses the answer, once."""

    lost = False

    def compare_and_swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        done = super().compare_and_swap(key, expected, data)
        if expected is not None and not self.lost:
            self.lost = True
            raise StoreFailed("no answer", retry=True)
        return done


def test_a_renewal_whose_answer_was_lost_is_known_again(tmp_path: Path) -> None:
    store = Unanswered(tmp_path)
    with lease(store, ".lease", SECONDS):
        time.sleep(3 * SECONDS)
        until = written(store)["until"]
        assert isinstance(until, float)
        assert until > time.time()
    assert store.lost
