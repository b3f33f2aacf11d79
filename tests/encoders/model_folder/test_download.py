"""Weights from a web server: whole, wrong, cut, slow, resumed, behind a proxy, asked for twice."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.model_folder import download as module
from commonspace.encoders.model_folder.download import download
from tests.support.file_server import Fault, FileServer, file_server

pytest.importorskip("filelock")

BODY = np.random.default_rng(0).bytes(3_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
NAME = f"/models/small-{DIGEST[:8]}.pth"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as state:
        state.files[NAME] = BODY
        yield state


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def fetch(server: FileServer, path: Path, prefix: str = DIGEST[:8]) -> None:
    download(server.address + NAME, path, sha256_prefix=prefix, otherwise="Name a file.")


def test_a_whole_file_is_there_or_nothing(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "new" / "weights.pth"
    fetch(server, path)
    assert path.read_bytes() == BODY
    assert sorted(p.name for p in path.parent.iterdir()) == ["weights.pth", "weights.pth.lock"]
    fetch(server, path)
    assert server.bodies_asked(NAME) == [None]


def test_another_file_is_refused_and_not_kept(server: FileServer, tmp_path: Path) -> None:
    server.files[NAME] = b"<html>Please log in.</html>"
    with pytest.raises(WeightsRefused, match="another file: its sha256 begins with") as caught:
        fetch(server, tmp_path / "w.pth")
    assert caught.value.retry
    server.files[NAME] = BODY
    fetch(server, tmp_path / "w.pth")
    assert server.bodies_asked(NAME) == [None, None]
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_connection_that_breaks_is_resumed_where_it_broke(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults[NAME] = [Fault(1_000_000), Fault(status=503), Fault(0), Fault(500_000)]
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == BODY
    at = [None, *("bytes=1000000-",) * 3, "bytes=1500000-"]
    assert server.bodies_asked(NAME) == at


def test_what_came_is_kept_for_the_next_process(server: FileServer, tmp_path: Path) -> None:
    server.faults[NAME] = [Fault(2_000_000), *[Fault(0)] * module.ATTEMPTS]
    with pytest.raises(EncoderNotFound, match=r"ended after 2,000,000 of 3,000,000") as caught:
        fetch(server, tmp_path / "w.pth")
    assert caught.value.retry
    assert "resumes it" in caught.value.do
    server.asked.clear()
    server.faults.clear()
    fetch(server, tmp_path / "w.pth")
    assert server.bodies_asked(NAME) == ["bytes=2000000-"]
    assert (tmp_path / "w.pth").read_bytes() == BODY


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_that_is_whole_or_whose_server_knows_no_parts(
    ranges: bool, server: FileServer, tmp_path: Path
) -> None:
    server.ranges = ranges
    (tmp_path / "w.pth.part").write_bytes(BODY)
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_part_of_a_longer_file_is_given_up(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(BODY + BODY)
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == BODY


def test_a_server_that_sends_nothing_more_is_left(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALLED_AFTER", 0.3)
    server.faults[NAME] = [Fault(1_000_000, stall=60)]
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == BODY
    server.faults[NAME] = [Fault(0, stall=60)] * module.ATTEMPTS
    with pytest.raises(EncoderNotFound, match=r"no byte came within 0\.3 seconds"):
        fetch(server, tmp_path / "other.pth")


def test_what_is_not_there_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    del server.files[NAME]
    with pytest.raises(EncoderNotFound, match="the server answered 404") as caught:
        fetch(server, tmp_path / "w.pth")
    assert not caught.value.retry
    assert server.bodies_asked(NAME) == [None]


def test_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    with file_server() as server:
        pass
    with pytest.raises(EncoderNotFound, match=r"cannot be downloaded.*refused") as caught:
        fetch(server, tmp_path / "w.pth")
    assert caught.value.retry


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    url = f"http://weights.invalid{NAME}"
    download(url, tmp_path / "w.pth", sha256_prefix=DIGEST, otherwise="")
    assert (tmp_path / "w.pth").read_bytes() == BODY
    assert server.asked == [("GET", url, None)]


def test_a_second_process_waits_for_the_first(server: FileServer, tmp_path: Path) -> None:
    server.faults[NAME] = [Fault(1_000_000, stall=1.0)]
    first = threading.Thread(target=fetch, args=(server, tmp_path / "w.pth"))
    first.start()
    while not (tmp_path / "w.pth.part").exists():
        time.sleep(0.01)
    script = (
        "import sys, pathlib; from commonspace.encoders.model_folder.download import download\n"
        "download(sys.argv[1], pathlib.Path(sys.argv[2]), sha256_prefix=sys.argv[3], otherwise='')"
    )
    arguments = [server.address + NAME, str(tmp_path / "w.pth"), DIGEST]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=60)
    assert (tmp_path / "w.pth").read_bytes() == BODY
    first.join()
    assert server.bodies_asked(NAME) == [None, "bytes=1000000-"]


def test_a_bar_is_for_a_terminal_only(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fetch(server, tmp_path / "silent.pth")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fetch(server, tmp_path / "shown.pth")
    shown = capsys.readouterr().err
    assert "shown.pth" in shown
    assert "3.00M" in shown
