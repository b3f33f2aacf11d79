"""A converted text model is kept: the next process loads it without torch, with the same bits."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.catalog import describe, load
from commonspace.encoders.engines.selection import cuda_is_unavailable
from commonspace.encoders.errors import EncoderError, WeightsRefused
from commonspace.encoders.reference import EncoderReference

pytestmark = pytest.mark.models

pytest.importorskip("torch")
pytest.importorskip("openvino")

DEVICE = "" if cuda_is_unavailable() else "cpu"
"""Where there may be a GPU, only torch can tell, unless the CPU is asked for."""
TEXTS = ["a lamp", "on the quay " * 90, ""]
SCRIPT = f"""
import sys
from commonspace.encoders.catalog import load
from commonspace.encoders.reference import EncoderReference
encoder = load(EncoderReference(sys.argv[1], "text", overflow=sys.argv[2] or None))
made = [encoder.encode({TEXTS!r}, purpose=purpose) for purpose in ("document", "query")]
assert not {{"torch", "transformers"}} & set(sys.modules)
print(*(one.vectors.tobytes().hex() for one in made))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMMONSPACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMMONSPACE_DEVICE", DEVICE)
    return tmp_path / "cache" / "models"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged as a warning, also where a library has raised the handlers' level before."""
    caplog.handler.setLevel(logging.WARNING)
    return caplog


def loaded(folder: Path, overflow: str | None = None) -> tuple[str, list[str]]:
    """The engine, and the vectors of documents and queries, of the model loaded here."""
    encoder = load(EncoderReference(str(folder), "text", overflow=overflow))
    made = [encoder.encode(TEXTS, purpose=p) for p in ("document", "query")]  # type: ignore[arg-type]
    return encoder.engine, [one.vectors.tobytes().hex() for one in made]


def loaded_elsewhere(folder: Path, overflow: str = "") -> list[str]:
    """The vectors by a fresh process, which must not have imported torch."""
    command = [sys.executable, "-c", SCRIPT, str(folder), overflow]
    environment = os.environ | {"COMMONSPACE_DEVICE": DEVICE}
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
    cache: Path, tiny_model: Path, said: pytest.LogCaptureFixture, name: str
) -> None:
    first = loaded(tiny_model)
    (kept,) = cache.iterdir()
    whole = (kept / name).read_bytes()
    damages = [whole[: len(whole) // 2], whole[:-2] + bytes([whole[-2] ^ 8]) + whole[-1:]]
    if name == "record.json":  # what would still be a record, of another model
        damages.append(whole.replace(b'"pad": 0', b'"pad": 1'))
        damages.append(whole.replace(b'"side": "right"', b'"side": "wrong"'))
        assert whole not in damages
    for damage in damages:
        (kept / name).write_bytes(damage)
        said.clear()
        assert loaded(tiny_model) == first
        assert "is damaged" in said.text
        said.clear()
        assert loaded(tiny_model) == first
        assert not said.text


@pytest.mark.parametrize("name", ["a file", "x" * 300])
def test_a_cache_that_cannot_be_used_is_said(
    cache: Path,
    tiny_model: Path,
    said: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    kept = loaded(tiny_model)
    (tmp_path / "a file").write_text("where the folder should be")
    monkeypatch.setenv("COMMONSPACE_CACHE", str(tmp_path / name))
    assert loaded(tiny_model) == kept
    assert "cannot be kept" in said.text


def test_a_model_that_can_be_written_nowhere_is_refused(cache: Path, tiny_model: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(EncoderError, match="cannot be written") as refused:
            loaded(tiny_model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "COMMONSPACE_CACHE" in refused.value.do
    assert not list(cache.iterdir())


def test_weights_exchanged_while_they_were_loaded_are_not_kept(
    cache: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later process would take them for the model that the spec names."""
    import openvino

    model, save = tmp_path / "model", openvino.save_model
    shutil.copytree(tiny_model, model)

    def exchange(*arguments: Any, **options: Any) -> None:
        save(*arguments, **options)
        _other_weights(model)

    monkeypatch.setattr(openvino, "save_model", exchange)
    with pytest.raises(WeightsRefused, match="changed while"):
        loaded(model)
    assert not list(cache.iterdir())


def _other_weights(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, model / "model.safetensors")


def test_a_setting_that_is_wrong_costs_no_model(
    cache: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(tiny_model)
    monkeypatch.setenv("COMMONSPACE_THREADS", "two")
    with pytest.raises(EncoderError, match="COMMONSPACE_THREADS"):
        loaded(tiny_model)
    assert len(list(cache.iterdir())) == 1


def test_what_is_not_used_is_removed(cache: Path, tiny_model: Path) -> None:
    loaded(tiny_model)
    (kept,) = cache.iterdir()
    os.utime(kept, (0, 0))
    loaded(tiny_model)  # it is used: young again
    digits = "0123456789abcdef"
    unused, others = cache / f"{digits * 2}-{digits}", cache / f"{digits[::-1] * 2}-{digits}"
    forgotten, young = cache / f".part-{digits}", cache / f".part-{digits[::-1]}"
    foreign = [cache / "all-MiniLM-L6-v2", cache / ".git", cache / digits]
    for folder in (unused, others, forgotten, young, *foreign):
        folder.mkdir()
    for folder in (unused, forgotten, *foreign):
        os.utime(folder, (0, 0))
    loaded(tiny_model, "mean")
    there = [folder.exists() for folder in (unused, forgotten, others, young, kept)]
    assert there == [False, False, True, True, True]
    assert all(folder.exists() for folder in foreign)


def test_others_may_read_what_is_kept(cache: Path, tiny_model: Path) -> None:
    before = os.umask(0o022)
    try:
        loaded(tiny_model)
    finally:
        os.umask(before)
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o755


def test_of_twins_one_is_kept(
    cache: Path, tiny_model: Path, said: pytest.LogCaptureFixture
) -> None:
    from commonspace.encoders.converted.cache import find_cached, new_model_folder

    spec = describe(EncoderReference(str(tiny_model), "text"))

    def write(folder: Path) -> None:
        (folder / "whose").write_text(folder.name)

    with new_model_folder(spec, write) as one, new_model_folder(spec, write) as other:
        names = {one.name, other.name}
    kept = find_cached(spec)
    assert kept is not None
    assert (kept / "whose").read_text() in names
    assert [path.name for path in cache.iterdir()] == [kept.name]
    assert not said.text


def test_a_conversion_that_fails_leaves_nothing(cache: Path, tiny_model: Path) -> None:
    from commonspace.encoders.converted.cache import find_cached, new_model_folder

    spec = describe(EncoderReference(str(tiny_model), "text"))

    def fail() -> None:
        with new_model_folder(spec, lambda folder: (folder / "network-0.xml").touch()):
            raise ValueError("other vectors")

    with pytest.raises(ValueError, match="other vectors"):
        fail()
    assert find_cached(spec) is None
    assert not list(cache.iterdir())


def test_torch_that_is_asked_for_is_what_computes(
    cache: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loaded(tiny_model)[0].startswith("openvino ")
    monkeypatch.setenv("COMMONSPACE_ENGINE", "torch")
    assert loaded(tiny_model)[0].startswith("torch ")
