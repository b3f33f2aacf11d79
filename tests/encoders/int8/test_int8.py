"""An int8 model is an encoder of its own, near the one it was made from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonspace.encoders.catalog import describe, load, quantise
from commonspace.encoders.errors import EncoderError, EncoderNotFound, WeightsRefused
from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.vectors import largest_angle

WORDS = "river stone lamp quiet engine violet seven harbour bread winter moss"

pytest.importorskip("nncf", reason='nncf is not installed: pip install "commonspace[quantise]"')
pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def made(
    minilm: Encoder,
    reference: Callable[[str], EncoderReference],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """A folder made from 40 texts, and how near it came on others."""
    assert minilm.spec.precision == "fp32"
    folder = tmp_path_factory.mktemp("int8") / "minilm"
    words = WORDS.split()
    texts = [" ".join(words[(n * k) % 11] for k in range(1, 4 + n % 30)) for n in range(1, 151)]
    return folder, quantise(reference("minilm"), folder, texts[:40], texts[40:])


@pytest.fixture(scope="module")
def int8(made: tuple[Path, dict[str, Any]]) -> Encoder:
    return load(EncoderReference(str(made[0]), "text"))


def test_it_comes_near_and_says_how_near(made: tuple[Path, dict[str, Any]]) -> None:
    _, said = made
    assert said["items"] == 110
    assert said["cosine_min"] > 0.95
    assert said["neighbours"] > 0.7
    assert said["calibrated_on"] == 40


def test_it_is_a_space_of_its_own(int8: Encoder, minilm: Encoder) -> None:
    assert int8.spec.precision == "int8"
    assert int8.spec.fingerprint != minilm.spec.fingerprint
    assert int8.spec.weights != minilm.spec.weights
    assert int8.spec.dim == minilm.spec.dim
    assert "int8" in int8.spec.label


def test_its_vectors_are_the_same_in_every_batch(
    int8: Encoder, contents: dict[str, list[Content]]
) -> None:
    texts = contents["text"]
    together = int8.encode(texts).vectors
    backwards = int8.encode(texts[::-1]).vectors[::-1]
    alone = np.concatenate([int8.encode([text]).vectors for text in texts[:8]])
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together[:8], alone)


def test_it_tokenises_as_its_source_does(
    int8: Encoder, minilm: Encoder, contents: dict[str, list[Content]]
) -> None:
    texts = [*contents["text"], "word " * 1000, "\u00e9t\u00e9", "[PAD] in a text"]
    assert int8.encode(texts).facts == minilm.encode(texts).facts


def test_long_texts_may_be_pooled(made: tuple[Path, dict[str, Any]], int8: Encoder) -> None:
    pooled = load(EncoderReference(str(made[0]), "text", overflow="mean"))
    long = " ".join(f"word{n}" for n in range(900))
    (facts,) = pooled.encode([long]).facts
    assert facts["tokens_used"] == facts["tokens_total"]
    assert largest_angle(pooled.encode([long]).vectors, int8.encode([long]).vectors) > 0.01


LIGHT = """
import sys
from commonspace.encoders.catalog import load
from commonspace.encoders.reference import EncoderReference
load(EncoderReference(sys.argv[1], "text")).encode(["a heron"])
print(sorted({"torch", "transformers", "nncf"} & sys.modules.keys()))
"""


def test_it_runs_without_torch(made: tuple[Path, dict[str, Any]]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(made[0])], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def _cut(folder: Path) -> None:
    data = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(data[:-1])


def _flip(folder: Path) -> None:
    data = bytearray((folder / "model.bin").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.bin").write_bytes(bytes(data))


def _other_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"the"', '"teh"', 1))


def _no_record(folder: Path) -> None:
    record = json.loads((folder / "int8.json").read_text())
    del record["files"]
    (folder / "int8.json").write_text(json.dumps(record))


def _other_format(folder: Path) -> None:
    record = json.loads((folder / "int8.json").read_text())
    (folder / "int8.json").write_text(json.dumps({**record, "format": 99}))


@pytest.mark.parametrize("tamper", [_cut, _flip, _other_tokenizer, _no_record, _other_format])
def test_a_folder_that_was_changed_is_refused(
    made: tuple[Path, dict[str, Any]], tmp_path: Path, tamper: Callable[[Path], None]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made[0], folder)
    tamper(folder)
    with pytest.raises(WeightsRefused):
        describe(EncoderReference(str(folder), "text"))


def test_what_does_not_suit_is_refused(
    made: tuple[Path, dict[str, Any]],
    reference: Callable[[str], EncoderReference],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = made[0]
    with pytest.raises(EncoderNotFound, match="not 'image'"):
        describe(EncoderReference(str(folder), "image"))
    with pytest.raises(EncoderNotFound, match="exists already"):
        quantise(reference("minilm"), folder, ["a", "b"], ["c"])
    with pytest.raises(EncoderError, match="cannot be made int8"):
        quantise(EncoderReference("hashed", "text"), folder / "x", ["a"], ["b"])
    monkeypatch.setenv("COMMONSPACE_ENGINE", "torch")
    with pytest.raises(EncoderError, match="cannot run an int8 model"):
        load(EncoderReference(str(folder), "text"))
