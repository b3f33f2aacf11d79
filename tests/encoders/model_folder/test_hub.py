"""Models of a hub on the loopback: whole, wrong, cut, slow, resumed, by a proxy, twice at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from tests.encoders.conftest import point_hub_at
from tests.support.file_server import Fault, FileServer

pytest.importorskip("huggingface_hub")

from huggingface_hub import constants

from commonspace.encoders.model_folder.hub import download_folder

REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = np.random.default_rng(0).bytes(300_000)
FILES = {"config.json": b'{"hidden_size": 8}', "model.safetensors": WEIGHTS}
PATH = f"/owner/model/resolve/{REVISION}/model.safetensors"


@pytest.fixture
def server(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> FileServer:
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses between attempts
    hub.add_model("owner/model", REVISION, {**FILES, "pytorch_model.bin": b"pickled"})
    return hub


def test_a_revision_is_downloaded_once_and_never_its_pickles(server: FileServer) -> None:
    folder = download_folder("owner/model", REVISION)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    asked = len(server.bodies_asked(PATH))
    assert download_folder("owner/model", REVISION) == folder
    assert len(server.bodies_asked(PATH)) == asked == 1


@pytest.mark.parametrize("file", FILES)
def test_another_file_than_the_hub_names_is_refused_and_removed(
    file: str, server: FileServer
) -> None:
    path = f"/owner/model/resolve/{REVISION}/{file}"
    server.files[path] = FILES[file][:-1] + b"x"
    with pytest.raises(WeightsRefused, match=f"{file} is not the file that the hub names") as said:
        download_folder("owner/model", REVISION)
    assert said.value.retry
    server.files[path] = FILES[file]
    folder = download_folder("owner/model", REVISION)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_a_file_of_the_cache_that_was_changed_is_removed(server: FileServer) -> None:
    folder = download_folder("owner/model", REVISION)
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(WeightsRefused, match="removed from the hub's cache"):
        download_folder("owner/model", REVISION)
    assert (download_folder("owner/model", REVISION) / blob.name).parent == folder


def test_a_connection_that_breaks_is_resumed(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # 10 MB: less is begun anew
    server.faults[PATH] = [Fault(100_000), Fault(50_000)]
    folder = download_folder("owner/model", REVISION)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert server.bodies_asked(PATH) == [None, "bytes=100000-", "bytes=150000-"]


def test_a_download_that_breaks_for_good_is_tried_again_by_the_next_process(
    server: FileServer,
) -> None:
    server.faults[PATH] = [Fault(100_000), *[Fault(0)] * 10]
    with pytest.raises(EncoderNotFound, match="the download from the hub broke off") as caught:
        download_folder("owner/model", REVISION)
    assert caught.value.retry
    server.faults.clear()
    folder = download_folder("owner/model", REVISION)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_hub_that_sends_nothing_more_is_left(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    server.faults[PATH] = [Fault(100_000, stall=60)]
    folder = download_folder("owner/model", REVISION)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(("status", "retry"), [(404, False), (403, False), (503, True)])
def test_what_the_hub_answers_is_said(status: int, retry: bool, server: FileServer) -> None:
    tree = f"/api/models/owner/model/tree/{REVISION}"
    server.faults[tree] = [Fault(status=status)] * 20
    with pytest.raises(EncoderNotFound, match=f"the hub answered {status} for revision") as caught:
        download_folder("owner/model", REVISION)
    assert caught.value.retry == retry


def test_a_proxy_of_the_environment_is_used(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    point_hub_at("http://hub.invalid", tmp_path / "cache", monkeypatch)
    folder = download_folder("owner/model", REVISION)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert ("GET", f"http://hub.invalid{PATH}", None) in server.asked


def test_a_second_process_waits_for_the_first(server: FileServer) -> None:
    server.faults[PATH] = [Fault(100_000, stall=3.0)]
    script = (
        "import sys; from commonspace.encoders.model_folder.hub import download_folder\n"
        "print(download_folder('owner/model', sys.argv[1]))"
    )
    environment = {"HF_ENDPOINT": server.address, "HF_HUB_CACHE": constants.HF_HUB_CACHE}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, REVISION], env=environment, text=True,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    answers = {child.communicate(timeout=60)[0].strip() for child in children}
    (folder,) = map(Path, answers)
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(server.bodies_asked(PATH)) == 2  # the first process's, before and after the break
