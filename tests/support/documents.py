"""Long texts that are cut into passages, and what a release must hold of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from commonspace.encoders import catalog
from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.reference import EncoderReference
from commonspace.pipeline.pull.passages import passage_id
from commonspace.pipeline.source.records import sha256_hex
from tests.support.warehouse import Warehouse

SPACE = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "overflow": "rows"}
NO_LIMITS: dict[str, Any] = {"gates": {"max_deleted_share": 1.0, "max_reject_share": 1.0}}
split_passages = catalog.passage_splitter(EncoderReference("hashed/64", "text", overflow="rows"))


def paragraph(word: str) -> str:
    """Fits into a passage; two of them do not."""
    return f"A paragraph about the {word}, which goes on about the {word} for a while. " + (
        f"It has a second sentence on the {word}, and says nothing else of any weight at all."
    )


def text_of(words: str) -> str:
    """A text of one passage a word."""
    return "\n\n".join(map(paragraph, words.split()))


def document(item: str, words: str, **more: Any) -> dict[str, Any]:
    return {"id": item, "text": text_of(words), **more}


def passage_ids(item: str, count: int) -> list[str]:
    return [passage_id(item, n) for n in range(count)]


def ledger(report: dict[str, Any]) -> dict[str, int]:
    return {state: count for state, count in report["ledger"].items() if count}


def rows_by_id(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    """The published rows by id, each proved against the text it was cut from by `whole`."""
    return {row["id"]: row for row in warehouse.open().to_arrow().to_pylist()}


def holds_every_passage(warehouse: Warehouse, data: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the release holds each passage of these records, where it stands, and no other."""
    encoder, found, expected = (
        HashedEncoder(64, "text", passages=True),
        rows_by_id(warehouse),
        set(),
    )
    for record in data:
        for number, (start, end) in enumerate(split_passages(record["text"])):
            row = found[passage_id(record["id"], number)]
            piece = record["text"][start:end]
            expected.add(row["id"])
            assert (row["item"], row["passage"]) == (record["id"], number)
            assert (row["passage_start"], row["passage_end"]) == (start, end)
            assert row["content_digest"] == sha256_hex(piece)
            assert np.array_equal(np.float32(row["vector"]), encoder.encode([piece]).vectors[0])
            assert not row["truncated"]
    return expected == found.keys() and bool(warehouse.verify()["ok"])


DOCUMENTS = [
    document("a", "whale ship harbour storm"),
    document("b", "engine"),
    document("c", "x y"),
]
