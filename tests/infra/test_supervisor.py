"""Starting, watching and ending processes, with processes that do nothing."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import psutil
import pytest

from infra.stack.credentials import credentials_of
from infra.stack.part import Part
from infra.stack.settings import StackFailed, free_port
from infra.stack.supervisor import Supervisor, only_stack_of, run_once

SLEEPS = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}])"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


def part(folder: Path, name: str, code: str) -> Part:
    command = [sys.executable, "-c", code]
    return Part(name, command, dict(os.environ), folder / f"{name}.log", lambda since: True)


def members(session: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def eventually(ask: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not ask():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.stopping.set()
    made.stop()


def started(supervisor: Supervisor, folder: Path, name: str, code: str = SLEEPS) -> Part:
    made = part(folder, name, code)
    supervisor.start([made])
    return made


def test_a_part_that_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    sleeper = started(supervisor, tmp_path, "sleeper")
    watching = Thread(target=supervisor.watch)
    watching.start()
    first = sleeper.pid
    os.kill(first, signal.SIGKILL)
    eventually(lambda: sleeper.restarts == 1 and sleeper.running)
    assert sleeper.pid != first
    supervisor.stopping.set()
    watching.join()


def test_a_part_that_has_died_does_not_stop_another_from_starting(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """As the scheduler does while the database is started again."""
    first = started(supervisor, tmp_path, "first")
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not first.running)
    started(supervisor, tmp_path, "second")


def test_what_a_part_started_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    parent = started(supervisor, tmp_path, "parent", f"{PARENT}; time.sleep(600)")
    eventually(lambda: len(members(parent.pid)) == 2)
    os.kill(parent.pid, signal.SIGKILL)
    eventually(lambda: not parent.running)
    assert len(members(parent.pid)) == 1, "the child outlives it"
    parent.end()
    assert members(parent.pid) == []


def test_a_stop_ends_the_deaf_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.stack.supervisor.STOP_SECONDS", 0.5)
    supervisor = Supervisor(tmp_path)
    deaf = started(supervisor, tmp_path, "deaf", DEAF)
    time.sleep(0.5)
    supervisor.stop()
    assert members(deaf.pid) == []
    assert not (tmp_path / "parts.json").exists()


def test_the_next_start_ends_what_a_killed_stack_left(tmp_path: Path) -> None:
    killed = Supervisor(tmp_path)
    left = started(killed, tmp_path, "left", f"{PARENT}; time.sleep(600)")
    eventually(lambda: len(members(left.pid)) == 2)
    Supervisor(tmp_path).stop_leftovers()
    assert members(left.pid) == []
    left.end()


def test_a_number_that_another_process_has_by_now_is_left_alone(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    other = started(supervisor, tmp_path, "other")
    file = tmp_path / "parts.json"
    file.write_text(f'[{{"pid": {other.pid}, "created": 1.0}}]')
    Supervisor(tmp_path).stop_leftovers()
    assert other.running


def test_a_part_that_does_not_start_says_why(supervisor: Supervisor, tmp_path: Path) -> None:
    broken = part(tmp_path, "broken", "raise SystemExit('no such database')")
    broken.is_healthy = lambda since: False
    with pytest.raises(StackFailed, match=r"broken did not start(.|\n)*no such database"):
        supervisor.start([broken])


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such table')"]
    with pytest.raises(StackFailed, match="no such table"):
        run_once(command, dict(os.environ), tmp_path / "log")


def test_one_stack_a_folder(tmp_path: Path) -> None:
    refused = pytest.raises(StackFailed, match="another stack is running")
    with only_stack_of(tmp_path), refused, only_stack_of(tmp_path):
        pass
    with only_stack_of(tmp_path):
        pass


def test_credentials_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    made = credentials_of(tmp_path)
    assert credentials_of(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert made.admin not in repr(made)
    (tmp_path / "other").mkdir()
    assert credentials_of(tmp_path / "other").jwt_secret != made.jwt_secret


def test_a_port_that_is_taken_is_not_given_away() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
