"""A converted text model is kept: the next process loads it without torch, with the same bits."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from encoders.catalog import describe, load
from encoders.reference import EncoderReference

pytestmark = pytest.mark.models

pytest.importorskip("torch")
pytest.importorskip("openvino")

TEXTS = ["a lamp", "on the quay " * 90, ""]
SCRIPT = f"""
import sys
from encoders.catalog import load
from encoders.reference import EncoderReference
encoder = load(EncoderReference(sys.argv[1], "text", overflow=sys.argv[2] or None))
made = [encoder.encode({TEXTS!r}, purpose=purpose) for purpose in ("document", "query")]
assert not {{"torch", "transformers"}} & set(sys.modules)
print(*(one.vectors.tobytes().hex() for one in made))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMMONSPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def loaded(folder: Path, overflow: str | None = None) -> tuple[str, list[str]]:
    """The engine, and the vectors of documents and queries, of the model loaded here."""
    encoder = load(EncoderReference(str(folder), "text", overflow=overflow))
    made = [encoder.encode(TEXTS, purpose=p) for p in ("document", "query")]  # type: ignore[arg-type]
    return encoder.engine, [one.vectors.tobytes().hex() for one in made]


def loaded_elsewhere(folder: Path, overflow: str = "") -> list[str]:
    """The vectors by a fresh process, which must not have imported torch."""
    command = [sys.executable, "-c", SCRIPT, str(folder), overflow]
    environment = os.environ | {"COMMONSPACE_DEVICE": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("overflow", [None, "mean"])
def test_the_second_process_needs_no_torch(
    cache: Path, tiny_model: Path, overflow: str | None
) -> None:
    _, first = loaded(tiny_model, overflow)
    assert loaded_elsewhere(tiny_model, overflow or "") == first
    (kept,) = cache.iterdir()
    assert len(list(kept.glob("network-*.xml"))) == 1


def test_networks_that_pool_otherwise_are_kept_apart(
    cache: Path, tiny_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    for name, change in (
        ("1_Pooling/config.json", {"include_prompt": False}),
        ("config_sentence_transformers.json", {"prompts": {"query": "what is asked: "}}),
    ):
        settings = json.loads((model / name).read_text()) | change
        (model / name).write_text(json.dumps(settings))
    _, first = loaded(model)
    assert first[0] != first[1]
    assert loaded_elsewhere(model) == first
    (kept,) = cache.iterdir()
    assert len(list(kept.glob("network-*.xml"))) == 2


FILES = ["network-0.bin", "network-0.xml", "tokenizer.json", "record.json"]


@pytest.mark.parametrize("name", FILES)
def test_what_is_damaged_is_made_anew(
    cache: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    first = loaded(tiny_model)
    (kept,) = cache.iterdir()
    whole = (kept / name).read_bytes()
    for damage in (whole[: len(whole) // 2], whole[:-2] + bytes([whole[-2] ^ 8]) + whole[-1:]):
        (kept / name).write_bytes(damage)
        caplog.clear()
        assert loaded(tiny_model) == first
        assert "is damaged" in caplog.text
        caplog.clear()
        assert loaded(tiny_model) == first
        assert not caplog.text


def test_a_cache_that_cannot_be_written_is_said(
    cache: Path, tiny_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = loaded(tiny_model)
    shutil.rmtree(cache.parent)
    cache.parent.write_text("a file where the folder should be")
    assert loaded(tiny_model) == kept
    assert "cannot be kept" in caplog.text


def test_what_another_library_made_is_removed(cache: Path, tiny_model: Path) -> None:
    spec = describe(EncoderReference(str(tiny_model), "text"))
    stale, others = cache / f"{spec.fingerprint[:32]}-0123", cache / "abcd-0123"
    forgotten, young = cache / ".part-old", cache / ".part-young"
    for folder in (stale, others, forgotten, young):
        folder.mkdir(parents=True)
    os.utime(forgotten, (0, 0))
    loaded(tiny_model)
    there = [folder.exists() for folder in (stale, forgotten, others, young)]
    assert there == [False, False, True, True]


def test_of_twins_one_is_kept(cache: Path, tiny_model: Path, caplog: Any) -> None:
    from encoders.model_cache import cached, room

    caplog.set_level(logging.WARNING)
    spec = describe(EncoderReference(str(tiny_model), "text"))
    with room(spec) as one, room(spec) as other:
        for folder in (one, other):
            (folder / "whose").write_text(folder.name)
    kept = cached(spec)
    assert kept is not None
    assert (kept / "whose").read_text() in (one.name, other.name)
    assert [path.name for path in cache.iterdir()] == [kept.name]
    assert not caplog.text


def test_a_conversion_that_fails_leaves_nothing(cache: Path, tiny_model: Path) -> None:
    from encoders.model_cache import cached, room

    spec = describe(EncoderReference(str(tiny_model), "text"))

    def fail() -> None:
        with room(spec) as folder:
            (folder / "network-0.xml").write_text("half")
            raise ValueError("other vectors")

    with pytest.raises(ValueError, match="other vectors"):
        fail()
    assert cached(spec) is None
    assert not list(cache.iterdir())


def test_torch_that_is_asked_for_is_what_computes(
    cache: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded(tiny_model)[0].startswith("openvino ")
    monkeypatch.setenv("COMMONSPACE_ENGINE", "torch")
    assert loaded(tiny_model)[0].startswith("torch ")
