"""Texts that are blank, gone or changed during a run: rejects of the passages they had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.encode.shard import encode_shard
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.pull.items import read_offered_items
from commonspace.pipeline.run.run import rejected_ids
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.protocol import Scanned
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import read_shard
from tests.support import documents
from tests.support.documents import DOCUMENTS, NO_LIMITS, SPACE
from tests.support.warehouse import Warehouse

pytest.importorskip("semantic_text_splitter")


def test_a_blank_text_is_a_reject_and_can_heal(publish: Any, warehouse: Warehouse) -> None:
    blank = {"id": "blank", "text": " \n" * 900}
    report = publish([*DOCUMENTS, blank])
    assert report["rejects_by_reason"] == {"empty_text": 1}
    assert warehouse.open().rejects["id"].to_pylist() == ["blank#00000"]
    assert publish([*DOCUMENTS, blank])["shards"] == {"planned": 0, "encoded": 0}
    healed = [*DOCUMENTS, documents.document("blank", "no more")]
    collection = warehouse.collection(healed, spaces=[SPACE], **NO_LIMITS)
    scope = rejected_ids(warehouse.store, collection, list(collection.space))
    assert scope == Scope(ids=frozenset({"blank"}))
    report = publish(healed, scope=scope, retry_rejects=True)
    assert documents.ledger(report) == {"offered": 2, "encoded": 2}
    assert len(warehouse.open().rejects) == 0
    assert documents.holds_every_passage(warehouse, healed)


def test_a_text_that_became_blank_leaves(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    report = publish([{"id": "a", "text": " "}, *DOCUMENTS[1:]])
    assert documents.ledger(report) == {"offered": 4, "kept": 3, "rejected": 1, "deleted": 4}
    assert documents.holds_every_passage(warehouse, DOCUMENTS[1:])


def test_rejects_outside_the_scope_are_carried(publish: Any, warehouse: Warehouse) -> None:
    blank = [{"id": "one", "text": " "}, {"id": "two", "text": "  "}]
    publish([*DOCUMENTS, *blank])
    publish(
        [*DOCUMENTS, documents.document("one", "word"), blank[1]],
        scope=Scope(ids=frozenset({"one"})),
    )
    assert warehouse.open().rejects["id"].to_pylist() == ["two#00000"]
    publish(
        [documents.document("a", "whale"), *DOCUMENTS[1:], blank[1]],
        scope=Scope(ids=frozenset({"a"})),
    )
    assert warehouse.open().rejects["id"].to_pylist() == ["two#00000"]


@pytest.mark.parametrize("text", ["\ud800", {"en": "text"}])
def test_a_text_that_cannot_be_read_is_one_reject(
    publish: Any, warehouse: Warehouse, text: Any
) -> None:
    publish(DOCUMENTS)
    report = publish([{"id": "a", "text": text}, *DOCUMENTS[1:]])
    assert documents.ledger(report) == {"offered": 4, "kept": 3, "rejected": 1, "deleted": 4}
    assert warehouse.open().rejects["id"].to_pylist() == ["a"]
    assert documents.holds_every_passage(warehouse, DOCUMENTS[1:])


def test_a_text_that_is_not_there_for_now_keeps_its_rows(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    files = {f"in/{r['id']}.txt": r["text"].encode() for r in DOCUMENTS}
    folder = warehouse.collection(
        source={"kind": "folder", "uri": "in", "id": "stem"},
        files=files,
        spaces=[SPACE],
        **NO_LIMITS,
    )

    assert warehouse.run(folder)["ledger"]["encoded"] == 7
    (tmp_path / "in/a.txt").rename(tmp_path / "moved")
    (tmp_path / "in/a.txt").symlink_to(tmp_path / "in/.gone")
    assert documents.ledger(warehouse.run(folder)) == {"offered": 4, "kept": 3, "rejected": 1}
    assert len(documents.rows_by_id(warehouse)) == 7
    assert documents.holds_every_passage(warehouse, DOCUMENTS)


def test_a_text_that_changes_while_it_is_encoded_is_said_to(warehouse: Warehouse) -> None:
    collection = warehouse.collection(
        [documents.document("a", "one two three"), DOCUMENTS[1]], spaces=[SPACE], **NO_LIMITS
    )
    work, shards = warehouse.planned(collection)
    warehouse.collection(
        [documents.document("a", "one 222 three"), DOCUMENTS[1]], spaces=[SPACE], **NO_LIMITS
    )
    encode_stage(work, shards)
    report = warehouse.run(collection)
    assert documents.holds_every_passage(
        warehouse, [documents.document("a", "one 222 three"), DOCUMENTS[1]]
    )
    assert report["rejects_by_reason"] == {}


def test_a_changed_text_is_a_transient_failure_of_its_passage(warehouse: Warehouse) -> None:
    collection = warehouse.collection(
        [documents.document("a", "one two three")], spaces=[SPACE], **NO_LIMITS
    )
    work, shards = warehouse.planned(collection)
    warehouse.collection([documents.document("a", "one 222 three")], spaces=[SPACE], **NO_LIMITS)
    encode_stage(work, shards)
    (file,) = work.shard_files
    made = {row["id"]: row for row in read_shard(warehouse.store, file, work.spec).to_pylist()}
    assert [made[i]["reason"] for i in documents.passage_ids("a", 3)] == [
        None,
        "changed_during_run",
        None,
    ]
    assert made["a#00001"]["retryable"]


class Counting:
    """A source that counts what is loaded."""

    def __init__(self, source: Any) -> None:
        self.source, self.loaded = source, list[str]()

    def scan(self, scope: Scope) -> Iterator[Scanned]:
        yield from self.source.scan(scope)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        self.loaded += locators
        yield from self.source.load(locators)


def test_a_text_is_loaded_once_for_all_its_passages(warehouse: Warehouse) -> None:
    data = [
        documents.document("a", " ".join(f"w{n}" for n in range(40))),
        documents.document("b", "x y z"),
    ]
    collection = warehouse.collection(data, spaces=[SPACE])
    work, _ = warehouse.planned(collection)
    planned, without_content = read_offered_items(work, ["locator"])
    assert (planned.num_rows, without_content.num_rows) == (43, 0)
    counting = Counting(open_source(collection))
    encoder = HashedEncoder(64, "text", passages=True)
    with Progress("encode", None, quiet=True) as progress:
        made = pa.concat_tables(encode_shard(planned, work, counting, encoder, progress))
    assert made["reason"].null_count == 43
    assert len(counting.loaded) == 2
