"""A forced run encodes its scope again, once, and is held to every gate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import Content, Encoded, Failure, Purpose, Reason
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.plan.plan import PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.next_release import next_release_rows
from commonspace.pipeline.validate.stage import validate_stage
from tests.support.warehouse import Warehouse

ROWS = [{"id": f"i{n:02}", "text": f"text number {n // 2 if n < 4 else n}"} for n in range(30)]
"""Two pairs have one content each: 28 contents."""


class Failing(HashedEncoder):
    """Has no vector for one text."""

    def __init__(self, text: str, *, retryable: bool) -> None:
        super().__init__(64, "text")
        self.text = text
        self.failure = Failure(Reason.ENCODER_FAILED, "as the test wants", retryable)

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        done = super().encode([c for c in contents if c != self.text], purpose=purpose)
        bad = [n for n, content in enumerate(contents) if content == self.text]
        at = np.array([n for n in range(len(contents)) if n not in bad], np.intp)
        return Encoded(done.vectors, at, done.facts, dict.fromkeys(bad, self.failure))


class Turned(HashedEncoder):
    """Makes other vectors than it should."""

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        done = super().encode(contents, purpose=purpose)
        return Encoded(done.vectors[:, ::-1].copy(), done.positions, done.facts, done.failures)


def rows_of(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    table = warehouse.open().to_arrow()
    return {row["id"]: row for row in table.to_pylist()}


def test_everything_is_encoded_again_under_the_same_gates(warehouse: Warehouse) -> None:
    collection = warehouse.collection(ROWS)
    first = warehouse.run_without_error(collection)
    before = rows_of(warehouse)
    again = warehouse.run_without_error(collection, force=True)
    assert (again["ledger"]["encoded"], again["ledger"]["reused"]) == (28, 2)
    assert again["ledger"]["kept"] == 0
    assert (again["release"], again["state"]) == (2, "promoted")
    after = rows_of(warehouse)
    assert {row["run"] for row in after.values()} == {again["run"]}
    assert all(np.array_equal(after[i]["vector"], before[i]["vector"]) for i in before)
    values = [{g["name"]: g["value"] for g in one["gates"]} for one in (first, again)]
    assert values[0]["duplicate_vectors"] == values[1]["duplicate_vectors"], "no row counts twice"
    assert values[0].keys() == values[1].keys()
    assert values[1]["canary"] == 0.0
    assert values[1]["spot_check"] == 0.0
    assert warehouse.verify()["ok"]
    assert warehouse.run_without_error(collection)["ledger"]["kept"] == 30, (
        "the next run is a usual one"
    )


def test_gates_look_at_the_new_vectors_and_not_at_the_old_ones() -> None:
    ids, digests = ["a", "b", "c"], [hashlib.sha256(x).hexdigest() for x in (b"1", b"1", b"2")]
    nothing = pa.array([], pa.string())
    rows = {"id": pa.chunked_array([ids]), "row_digest": pa.chunked_array([["r"] * 3])}
    published = pa.table({**rows, "content_digest": digests, "partition": pa.nulls(3, pa.string())})
    inputs = PlanInputs(
        items=pa.table({**rows, "digest": digests}).slice(0, 2),  # the run is of a and b
        published=published,
        known_rejects=pa.table({"id": nothing, "content_digest": nothing}),
        unavailable=nothing,
        unreadable=nothing,
    )
    options = PlanOptions(scope=Scope(ids=frozenset("ab")), shard_rows=9, force=True)
    plan = make_plan(inputs, options)
    coming = next_release_rows(plan, published, failed=nothing, removed_ids=nothing)
    assert coming.rows_by_published.tolist() == [0, 0, 1]
    assert coming.rows_by_new_content == {digests[0]: 2}
    failing = next_release_rows(plan, published, pa.array(digests[:1]), removed_ids=nothing)
    assert failing.rows_by_published.tolist() == [1, 1, 1], "what fails for now stays as it is"


def test_force_stays_within_its_scope(warehouse: Warehouse) -> None:
    days = {f"d/{day}.jsonl": f'{{"id": "{day}", "text": "text of {day}"}}' for day in "ab"}
    files = {path: line.encode() for path, line in days.items()}
    source = {"uri": "d/{partition}.jsonl"}
    collection = warehouse.collection(source=source, files=files, gates={"max_drift": 1.0})
    first = warehouse.run_without_error(collection)
    again = warehouse.run_without_error(collection, scope=Scope("b"), force=True)
    assert again["ledger"]["encoded"] == 1
    assert {i: row["run"] for i, row in rows_of(warehouse).items()} == {
        "a": first["run"],
        "b": again["run"],
    }
    third = warehouse.run_without_error(collection, scope=Scope(ids=frozenset("a")), force=True)
    assert rows_of(warehouse)["a"]["run"] == third["run"]
    assert rows_of(warehouse)["b"]["run"] == again["run"]


def test_a_retry_finds_what_it_has_finished_and_no_other_run_does(warehouse: Warehouse) -> None:
    collection = warehouse.collection(ROWS, run={"shard_rows": 5})
    encode_stage(*warehouse.planned(collection, "usual"))
    work, shards = warehouse.planned(collection, force=True)
    assert len(shards) > 2
    assert encode_stage(work, shards[:2]) == shards[:2], "shards of other runs do not count"
    assert list(plan_stage(work).shards) == shards
    assert encode_stage(work, shards) == shards[2:]
    _, others = warehouse.planned(collection, "other", force=True)
    assert not set(shards) & set(others)


@pytest.mark.parametrize("retryable", [True, False])
def test_what_fails_when_forced(warehouse: Warehouse, retryable: bool) -> None:
    collection = warehouse.collection(ROWS, gates={"max_reject_share": 0.1})
    first = warehouse.run_without_error(collection)
    work, shards = warehouse.planned(collection, force=True)
    encoder = Failing("text number 9", retryable=retryable)
    encode_stage(work, shards, encoder)
    ledger = validate_stage(work).ledger
    assert (ledger.encoded, ledger.reused, ledger.rejected) == (27, 2, 1)
    assert ledger.deleted == (not retryable)
    release = publish_stage(work)
    assert release.rows == 30 - (not retryable)
    held = warehouse.open().at(release=release.number)
    runs = [row["run"] for row in held.to_arrow().to_pylist() if row["id"] == "i09"]
    assert runs == ([first["run"]] if retryable else [])


def test_force_weakens_no_gate(warehouse: Warehouse) -> None:
    collection = warehouse.collection(ROWS)
    warehouse.run_without_error(collection)
    work, shards = warehouse.planned(collection, force=True)
    with pytest.raises(GateRefused, match="canary"):
        encode_stage(work, shards, Turned(64, "text"))
