"""The straight line, on small real folders, with the weight-free encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import (
    Conflict,
    ContractBroken,
    GateRefused,
    NotPublished,
    UserMistake,
)
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.promote import promote_stage
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.release.manifest import release_numbers
from commonspace.pipeline.run.run import plan_collection, rejected_ids
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.work import Work
from tests.support.collection_file import TEXT_SPACE
from tests.support.warehouse import NAME, Warehouse, items_with_images, numbered_items


def test_first_run_publishes_every_item(warehouse: Warehouse) -> None:
    report = warehouse.run(numbered_items(50))
    assert report["ledger"] == {
        "offered": 50, "encoded": 50, "reused": 0, "kept": 0, "rejected": 0, "deleted": 0,
        "absent": 0,
    }  # fmt: skip
    assert report["state"] == "promoted"
    assert report["release"] == 1
    space = warehouse.open()
    table = space.to_arrow()
    assert sorted(table["id"].to_pylist()) == [row["id"] for row in numbered_items(50)]
    encoder = HashedEncoder(64, "text")
    for row in table.to_pylist():
        expected = encoder.encode([f"the text of item {int(row['id'][1:])}"]).vectors[0]
        assert np.array_equal(np.float32(row["vector"]), expected)
    assert warehouse.verify()["ok"]


def test_second_run_changes_nothing(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(50))
    warehouse.run(collection)
    files = {p: p.read_bytes() for p in (warehouse.root / "things").rglob("*") if p.is_file()}
    report = warehouse.run(collection)
    assert report["ledger"]["kept"] == 50
    assert report["ledger"]["encoded"] == 0
    assert report["state"] == "unchanged"
    assert release_numbers(warehouse.store, NAME) == [1]
    after = {p: p.read_bytes() for p in (warehouse.root / "things").rglob("*") if p.is_file()}
    assert after == files


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda r: [{**r[0], "text": "other"}, *r[1:]], {"encoded": 1, "kept": 49}, id="changed"
        ),
        pytest.param(lambda r: [*r, {"id": "new", "text": "new", "tag": "a"}],
                     {"encoded": 1, "kept": 50}, id="added"),
        pytest.param(lambda r: r[5:], {"kept": 45, "deleted": 5}, id="deleted"),
        pytest.param(lambda r: [{**row, "tag": "b"} for row in r],
                     {"reused": 50, "encoded": 0}, id="metadata-only"),
        pytest.param(lambda r: [{**row, "id": "x" + row["id"]} for row in r],
                     {"reused": 50, "encoded": 0, "deleted": 50}, id="renamed"),
        pytest.param(lambda r: [*r, {**r[0], "id": "twin"}], {"reused": 1, "encoded": 0},
                     id="duplicate"),
        pytest.param(lambda r: r[::-1], {"kept": 50, "encoded": 0}, id="reordered"),
    ],
)  # fmt: skip
def test_only_new_content_is_encoded(
    warehouse: Warehouse, change: Any, expected: dict[str, int]
) -> None:
    options = {"source": {"metadata": ["tag"]}, "gates": {"max_deleted_share": 1.0}}
    first = numbered_items(50, tag="a")
    warehouse.run(first, **options)
    wanted = change(first)
    report = warehouse.run(wanted, **options)
    assert {key: report["ledger"][key] for key in expected} == expected
    table = warehouse.open().to_arrow()
    found = {row["id"]: row for row in table.to_pylist()}
    assert found.keys() == {row["id"] for row in wanted}
    encoder = HashedEncoder(64, "text")
    for row in wanted:
        assert found[row["id"]]["tag"] == row["tag"]
        expected_vector = encoder.encode([row["text"]]).vectors[0]
        assert np.array_equal(np.float32(found[row["id"]]["vector"]), expected_vector)
    assert warehouse.verify()["ok"]


def test_duplicates_in_one_run_are_encoded_once(warehouse: Warehouse) -> None:
    data = [{"id": f"i{n}", "text": f"text {n % 5}"} for n in range(40)]
    report = warehouse.run(data)
    assert report["ledger"]["encoded"] == 5
    assert report["ledger"]["reused"] == 35


def test_a_bad_item_is_a_reject_and_is_not_tried_again(warehouse: Warehouse) -> None:
    bad = [{"id": "blank", "text": "  "}, {"id": "i0001", "text": "twin"}, {"text": "no id"}]
    options: dict[str, Any] = {"gates": {"max_reject_share": 0.5}}
    report = warehouse.run([*numbered_items(20), *bad], **options)
    assert report["rejects_by_reason"] == {"empty_text": 1, "duplicate_id": 1, "bad_id": 1}
    assert report["ledger"]["rejected"] == 3
    assert warehouse.open().get(["i0001"])["found"].to_pylist() == [True]
    again = warehouse.run([*numbered_items(20), *bad], **options)
    assert again["state"] == "unchanged"
    assert again["ledger"]["rejected"] == 3
    assert again["shards"] == {"planned": 0, "encoded": 0}


def test_only_rejects_tries_them_again(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"gates": {"max_reject_share": 0.5}}
    collection = warehouse.collection([*numbered_items(5), {"id": "bad", "text": " "}], **options)
    warehouse.run(collection)
    fixed = warehouse.collection([*numbered_items(5), {"id": "bad", "text": "mended"}], **options)
    scope = rejected_ids(warehouse.store, fixed, list(fixed.space))
    assert scope == Scope(ids=frozenset({"bad"}))
    report = warehouse.run(fixed, scope=scope, retry_rejects=True)
    assert report["ledger"]["offered"] == 1
    assert len(warehouse.open()) == 6
    assert len(warehouse.open().rejects) == 0


def test_an_item_that_became_a_reject_leaves_the_release(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"gates": {"max_reject_share": 0.5}}
    warehouse.run(numbered_items(20), **options)
    data = [{"id": "i0000", "text": " "}, *numbered_items(20)[1:]]
    report = warehouse.run(data, **options)
    assert report["ledger"]["deleted"] == 1
    assert warehouse.open().get(["i0000"])["found"].to_pylist() == [False]


@pytest.mark.parametrize(
    ("gates", "data", "gate"),
    [
        (
            {"max_reject_share": 0.01},
            [*numbered_items(20), {"id": "b", "text": " "}],
            "reject_share",
        ),
        ({"max_deleted_share": 0.2}, numbered_items(10), "deleted_share"),
    ],
)
def test_a_gate_refuses_before_anything_is_visible(
    warehouse: Warehouse, gates: Any, data: Any, gate: str
) -> None:
    warehouse.run(numbered_items(20), gates=gates)
    before = warehouse.open().to_arrow()
    report = warehouse.run(data, gates=gates)
    assert report["error"] == "GateRefused"
    assert f"gate {gate} refused" in report["what"]
    assert warehouse.open().to_arrow().equals(before)
    assert release_numbers(warehouse.store, NAME) == [1]


def test_an_emptied_source_deletes_nothing_unless_asked_and_then_is_refused(
    warehouse: Warehouse,
) -> None:
    warehouse.run(numbered_items(20))
    assert warehouse.run([])["state"] == "unchanged"
    report = warehouse.run([], delete_missing=True)
    assert "gate deleted_share refused" in report["what"]
    assert len(warehouse.open()) == 20


def test_another_encoder_is_refused_with_what_differs(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    other = {"name": "text", "encoder": "hashed/32", "fields": ["text"]}
    with pytest.raises(ContractBroken, match=r"dim: 64 -> 32") as refused:
        warehouse.run(numbered_items(5), spaces=[other])
    assert "version = 2" in refused.value.do
    report = warehouse.run(numbered_items(5), spaces=[{**other, "version": 2}])
    assert report["state"] == "promoted"
    assert warehouse.open("things/text/v1").spec.dim == 64
    assert warehouse.open("things/text/v2").spec.dim == 32
    assert warehouse.open().name == "things/text/v2"


def test_partitions_change_only_themselves(warehouse: Warehouse) -> None:
    def day(texts: list[str]) -> bytes:
        lines = [json.dumps({"id": t, "text": f"about {t}"}) for t in texts]
        return "\n".join(lines).encode()

    files = {"day=1/a.jsonl": day(["a", "b"]), "day=2/a.jsonl": day(["c", "d"])}
    source = {"uri": "day={partition}/*.jsonl"}
    gates = {"max_deleted_share": 1.0}
    collection = warehouse.collection(source=source, files=files, gates=gates)
    warehouse.run(collection, scope=Scope(partition="1"))
    assert set(warehouse.open().to_arrow()["id"].to_pylist()) == {"a", "b"}
    warehouse.run(collection, scope=Scope(partition="2"))
    first = {p.partition: p for p in warehouse.open().release.parts}
    files["day=2/a.jsonl"] = day(["d", "e"])
    collection = warehouse.collection(source=source, files=files, gates=gates)
    report = warehouse.run(collection, scope=Scope(partition="2"))
    assert report["ledger"]["deleted"] == 1
    parts = {p.partition: p for p in warehouse.open().release.parts}
    assert parts["1"] == first["1"]
    assert set(warehouse.open().to_arrow()["id"].to_pylist()) == {"a", "b", "d", "e"}
    whole = warehouse.run(collection)
    assert whole["state"] == "unchanged"


def test_two_spaces_of_the_same_items(warehouse: Warehouse) -> None:
    spaces = [TEXT_SPACE, {"name": "image", "encoder": "hashed/32", "image": "image"}]
    data, files = items_with_images(8)
    reports = warehouse.run_spaces(data, spaces=spaces, files=files)
    assert [r["ledger"]["encoded"] for r in reports] == [8, 8]
    ids = [
        set(warehouse.open(f"things/{s}").to_arrow()["id"].to_pylist()) for s in ("text", "image")
    ]
    assert ids[0] == ids[1]


def test_an_item_without_content_is_absent_and_counted(warehouse: Warehouse) -> None:
    report = warehouse.run([*numbered_items(9), {"id": "none", "text": None}])
    assert report["ledger"]["offered"] == 9
    assert report["ledger"]["absent"] == 1


def test_a_candidate_waits_and_is_adopted(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(5))
    report = warehouse.run(collection, promote=False)
    assert report["state"] == "candidate"
    with pytest.raises(NotPublished, match="no promoted release"):
        warehouse.open()
    report = warehouse.run(collection)
    assert report["state"] == "promoted"
    assert release_numbers(warehouse.store, NAME) == [1]


def test_the_loser_of_a_race_conflicts_and_then_plans_again(warehouse: Warehouse) -> None:
    files = {f"p{n}/a.jsonl": json.dumps({"id": f"i{n}", "text": "x" * n}).encode() for n in (1, 2)}
    collection = warehouse.collection(source={"uri": "p{partition}/*.jsonl"}, files=files)
    first, second = (
        warehouse.work(collection, f"run{n}", scope=Scope(partition=str(n))) for n in (1, 2)
    )
    for work in (first, second):
        pull_stage(work.run)
        encode_stage(work, list(plan_stage(work).shards))
        validate_stage(work)
    promote_stage(first, publish_stage(first).number)
    late = publish_stage(second).number
    with pytest.raises(Conflict):
        promote_stage(second, late)
    assert warehouse.open().to_arrow()["id"].to_pylist() == ["i1"]
    warehouse.run(collection, scope=Scope(partition="2"))
    assert sorted(warehouse.open().to_arrow()["id"].to_pylist()) == ["i1", "i2"]
    assert warehouse.verify()["ok"]


def test_finished_shards_are_not_encoded_again(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(60), run={"shard_rows": 10})
    work, shards = warehouse.planned(collection)
    assert len(shards) > 2
    done = encode_stage(work, shards[:2])
    report = warehouse.run(collection)
    assert report["ledger"]["encoded"] == 60
    assert report["shards"] == {"planned": len(shards), "encoded": len(shards) - len(done)}


def test_plan_leaves_nothing_behind(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(7))
    (plan,) = plan_collection(warehouse.work(collection).run, list(collection.space))
    assert plan["encode"] == 7
    assert warehouse.store.list("") == []


def test_a_mistake_leaves_nothing_behind(warehouse: Warehouse) -> None:
    misspelt = [{"name": "text", "encoder": "hashed", "fields": ["txt"]}]
    with pytest.raises(UserMistake, match="did you mean 'text'"):
        warehouse.run(numbered_items(3), spaces=misspelt)
    assert warehouse.store.list("") == []


def test_a_space_without_items_is_a_mistake(warehouse: Warehouse) -> None:
    with pytest.raises(UserMistake, match="no items"):
        warehouse.run([])


def test_many_rows_are_cut_into_buckets_that_share_parts(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonspace.pipeline.publish.parts.PART_ROWS", 64)
    warehouse.run(numbered_items(300))
    first = warehouse.open().release
    assert len(first.parts) == 8
    warehouse.run([{**numbered_items(300)[0], "text": "changed"}, *numbered_items(300)[1:]])
    second = warehouse.open().release
    assert len({p.key for p in first.parts} & {p.key for p in second.parts}) == 7
    warehouse.run(numbered_items(600))
    assert len(warehouse.open()) == 600
    assert warehouse.verify()["ok"]


def test_a_table_of_another_contract_is_refused(warehouse: Warehouse) -> None:
    alien = pa.table({"id": ["x"], "vector": pa.array([[1.0] * 64], pa.list_(pa.float32(), 64))})
    connect(str(warehouse.root)).create_table(NAME.table, alien)
    report = warehouse.run(numbered_items(5))
    assert "carries no contract" in report["what"]
    with pytest.raises(NotPublished, match="no promoted release"):
        warehouse.open()


def stages_until_validate(work: Work, meddle: Any = lambda: None) -> None:
    pull_stage(work.run)
    shards = list(plan_stage(work).shards)
    meddle()
    encode_stage(work, shards)
    validate_stage(work)


@pytest.mark.parametrize("damage", ["other text", "no longer JSON"])
def test_a_source_that_changes_during_a_run_is_tried_again(
    warehouse: Warehouse, tmp_path: Path, damage: str
) -> None:
    collection = warehouse.collection(numbered_items(20))
    data = tmp_path / "things.jsonl"
    whole = data.read_text()
    broken = whole.replace("of item 3", "of iTem 3") if damage == "other text" else (
        whole.replace('{"id": "i0003"', '["id"; "i0003"'))  # fmt: skip
    work = warehouse.work(collection)
    with pytest.raises(GateRefused, match="reject_share"):
        stages_until_validate(work, lambda: data.write_text(broken))
    data.write_text(whole)
    report = warehouse.run(collection)
    assert report["ledger"]["encoded"] == 20
    assert report["rejects_by_reason"] == {}


def test_a_transient_failure_leaves_the_published_row(warehouse: Warehouse, tmp_path: Path) -> None:
    spaces = [{"name": "text", "encoder": "hashed/64", "image": "image"}]
    data = [{"id": f"i{n}", "image": f"{n}.bin"} for n in range(10)]
    files = {f"{n}.bin": f"bytes {n}".encode() for n in range(10)}
    gates = {"max_reject_share": 0.5, "max_deleted_share": 0.0}
    collection = warehouse.collection(data, spaces=spaces, files=files, gates=gates)
    warehouse.run(collection)
    (tmp_path / "3.bin").unlink()
    report = warehouse.run(collection)
    assert report["ledger"]["rejected"] == 1
    assert report["ledger"]["deleted"] == 0
    assert warehouse.open().get(["i3"])["found"].to_pylist() == [True]
    assert warehouse.open().rejects["retryable"].to_pylist() == [True]
    (tmp_path / "3.bin").write_bytes(b"bytes 3")
    report = warehouse.run(collection)
    assert report["ledger"]["kept"] == 10
    assert len(warehouse.open().rejects) == 0


def test_a_misspelt_metadata_column_is_a_mistake(warehouse: Warehouse) -> None:
    with pytest.raises(UserMistake, match="did you mean 'tag'"):
        warehouse.run(numbered_items(3, tag="a"), source={"metadata": ["tagg"]})
