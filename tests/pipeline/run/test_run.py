"""The straight line, on small real folders, with the weight-free encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import current_key, release_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import (
    Conflict,
    ContractBroken,
    GateRefused,
    NotPublished,
    UserMistake,
)
from commonspace.pipeline.index.connection import connect, open_table
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.publish.promote import promote_stage
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.release.manifest import load_release, numbers
from commonspace.pipeline.run.run import new_run_id, plan_collection, rejected_ids, run_collection
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.validate.stage import validate_stage
from commonspace.pipeline.workspace.work import Run, Work

NAME = SpaceName("things", "text", 1)


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"i{n:04}", "text": f"the text of item {n}", **more} for n in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")


def go(
    collection: Collection, store: LocalStore, *, promote: bool = True, **options: Any
) -> list[dict[str, Any]]:
    run = Run(new_run_id(), collection, store, quiet=True, **options)
    return run_collection(run, list(collection.space), promote=promote, log=lambda _: None)


def opened(store: LocalStore, name: str = "things/text") -> Space:
    return open_space(name, warehouse=str(store.root))


def test_first_run_publishes_every_item(make_collection: Any, store: LocalStore) -> None:
    (report,) = go(make_collection(rows(50)), store)
    assert report["ledger"] == {
        "offered": 50, "encoded": 50, "reused": 0, "kept": 0, "rejected": 0, "deleted": 0,
        "absent": 0,
    }  # fmt: skip
    assert report["state"] == "promoted"
    assert report["release"] == 1
    space = opened(store)
    table = space.to_arrow()
    assert sorted(table["id"].to_pylist()) == [row["id"] for row in rows(50)]
    encoder = HashedEncoder(64, "text")
    for row in table.to_pylist():
        expected = encoder.encode([f"the text of item {int(row['id'][1:])}"]).vectors[0]
        assert np.array_equal(np.float32(row["vector"]), expected)
    assert verify_space(store, "things/text")["ok"]


def test_second_run_changes_nothing(make_collection: Any, store: LocalStore) -> None:
    collection = make_collection(rows(50))
    go(collection, store)
    files = {p: p.read_bytes() for p in (store.root / "things").rglob("*") if p.is_file()}
    (report,) = go(collection, store)
    assert report["ledger"]["kept"] == 50
    assert report["ledger"]["encoded"] == 0
    assert report["state"] == "unchanged"
    assert numbers(store, NAME) == [1]
    after = {p: p.read_bytes() for p in (store.root / "things").rglob("*") if p.is_file()}
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
    make_collection: Any, store: LocalStore, change: Any, expected: dict[str, int]
) -> None:
    options = {"source": {"metadata": ["tag"]}, "gates": {"max_deleted_share": 1.0}}
    first = rows(50, tag="a")
    go(make_collection(first, **options), store)
    wanted = change(first)
    (report,) = go(make_collection(wanted, **options), store)
    assert {key: report["ledger"][key] for key in expected} == expected
    table = opened(store).to_arrow()
    found = {row["id"]: row for row in table.to_pylist()}
    assert found.keys() == {row["id"] for row in wanted}
    encoder = HashedEncoder(64, "text")
    for row in wanted:
        assert found[row["id"]]["tag"] == row["tag"]
        expected_vector = encoder.encode([row["text"]]).vectors[0]
        assert np.array_equal(np.float32(found[row["id"]]["vector"]), expected_vector)
    assert verify_space(store, "things/text")["ok"]


def test_duplicates_in_one_run_are_encoded_once(make_collection: Any, store: LocalStore) -> None:
    data = [{"id": f"i{n}", "text": f"text {n % 5}"} for n in range(40)]
    (report,) = go(make_collection(data), store)
    assert report["ledger"]["encoded"] == 5
    assert report["ledger"]["reused"] == 35


def test_a_bad_item_is_a_reject_and_is_not_tried_again(
    make_collection: Any, store: LocalStore
) -> None:
    bad = [{"id": "blank", "text": "  "}, {"id": "i0001", "text": "twin"}, {"text": "no id"}]
    options: dict[str, Any] = {"gates": {"max_reject_share": 0.5}}
    (report,) = go(make_collection([*rows(20), *bad], **options), store)
    assert report["rejects_by_reason"] == {"empty_text": 1, "duplicate_id": 1, "bad_id": 1}
    assert report["ledger"]["rejected"] == 3
    assert opened(store).get(["i0001"])["found"].to_pylist() == [True]
    (again,) = go(make_collection([*rows(20), *bad], **options), store)
    assert again["state"] == "unchanged"
    assert again["ledger"]["rejected"] == 3
    assert again["shards"] == {"planned": 0, "encoded": 0}


def test_only_rejects_tries_them_again(make_collection: Any, store: LocalStore) -> None:
    options: dict[str, Any] = {"gates": {"max_reject_share": 0.5}}
    collection = make_collection([*rows(5), {"id": "bad", "text": " "}], **options)
    go(collection, store)
    fixed = make_collection([*rows(5), {"id": "bad", "text": "mended"}], **options)
    scope = rejected_ids(store, fixed, list(fixed.space))
    assert scope == Scope(ids=frozenset({"bad"}))
    (report,) = go(fixed, store, scope=scope, retry_rejects=True)
    assert report["ledger"]["offered"] == 1
    assert len(opened(store)) == 6
    assert len(opened(store).rejects) == 0


def test_an_item_that_became_a_reject_leaves_the_release(
    make_collection: Any, store: LocalStore
) -> None:
    options: dict[str, Any] = {"gates": {"max_reject_share": 0.5}}
    go(make_collection(rows(20), **options), store)
    data = [{"id": "i0000", "text": " "}, *rows(20)[1:]]
    (report,) = go(make_collection(data, **options), store)
    assert report["ledger"]["deleted"] == 1
    assert opened(store).get(["i0000"])["found"].to_pylist() == [False]


@pytest.mark.parametrize(
    ("gates", "data", "gate"),
    [
        ({"max_reject_share": 0.01}, [*rows(20), {"id": "b", "text": " "}], "reject_share"),
        ({"max_deleted_share": 0.2}, rows(10), "deleted_share"),
    ],
)
def test_a_gate_refuses_before_anything_is_visible(
    make_collection: Any, store: LocalStore, gates: Any, data: Any, gate: str
) -> None:
    go(make_collection(rows(20), gates=gates), store)
    before = opened(store).to_arrow()
    (report,) = go(make_collection(data, gates=gates), store)
    assert report["error"] == "GateRefused"
    assert f"gate {gate} refused" in report["what"]
    assert opened(store).to_arrow().equals(before)
    assert numbers(store, NAME) == [1]


def test_an_emptied_source_is_refused(make_collection: Any, store: LocalStore) -> None:
    go(make_collection(rows(20)), store)
    (report,) = go(make_collection([]), store)
    assert "gate deleted_share refused" in report["what"]
    assert len(opened(store)) == 20


def test_another_encoder_is_refused_with_what_differs(
    make_collection: Any, store: LocalStore
) -> None:
    go(make_collection(rows(5)), store)
    other = {"name": "text", "encoder": "hashed/32", "fields": ["text"]}
    with pytest.raises(ContractBroken, match=r"dim: 64 -> 32") as refused:
        go(make_collection(rows(5), spaces=[other]), store)
    assert "version = 2" in refused.value.do
    (report,) = go(make_collection(rows(5), spaces=[{**other, "version": 2}]), store)
    assert report["state"] == "promoted"
    assert opened(store, "things/text/v1").spec.dim == 64
    assert opened(store, "things/text/v2").spec.dim == 32
    assert opened(store).name == "things/text/v2"


def test_partitions_change_only_themselves(make_collection: Any, store: LocalStore) -> None:
    def day(texts: list[str]) -> bytes:
        lines = [json.dumps({"id": t, "text": f"about {t}"}) for t in texts]
        return "\n".join(lines).encode()

    files = {"day=1/a.jsonl": day(["a", "b"]), "day=2/a.jsonl": day(["c", "d"])}
    source = {"uri": "day={partition}/*.jsonl"}
    gates = {"max_deleted_share": 1.0}
    collection = make_collection(source=source, files=files, gates=gates)
    go(collection, store, scope=Scope(partition="1"))
    assert set(opened(store).to_arrow()["id"].to_pylist()) == {"a", "b"}
    go(collection, store, scope=Scope(partition="2"))
    first = {p.partition: p for p in opened(store).release.parts}
    files["day=2/a.jsonl"] = day(["d", "e"])
    collection = make_collection(source=source, files=files, gates=gates)
    (report,) = go(collection, store, scope=Scope(partition="2"))
    assert report["ledger"]["deleted"] == 1
    parts = {p.partition: p for p in opened(store).release.parts}
    assert parts["1"] == first["1"]
    assert set(opened(store).to_arrow()["id"].to_pylist()) == {"a", "b", "d", "e"}
    (whole,) = go(collection, store)
    assert whole["state"] == "unchanged"


def test_two_spaces_of_the_same_items(make_collection: Any, store: LocalStore) -> None:
    spaces = [
        {"name": "text", "encoder": "hashed/64", "fields": ["text"]},
        {"name": "image", "encoder": "hashed/32", "image": "image"},
    ]
    data = [{"id": f"i{n}", "text": f"text {n}", "image": f"{n}.jpg"} for n in range(8)]
    files = {f"{n}.jpg": f"bytes of {n}".encode() for n in range(8)}
    reports = go(make_collection(data, spaces=spaces, files=files), store)
    assert [r["ledger"]["encoded"] for r in reports] == [8, 8]
    ids = [
        set(opened(store, f"things/{s}").to_arrow()["id"].to_pylist()) for s in ("text", "image")
    ]
    assert ids[0] == ids[1]


def test_an_item_without_content_is_absent_and_counted(
    make_collection: Any, store: LocalStore
) -> None:
    (report,) = go(make_collection([*rows(9), {"id": "none", "text": None}]), store)
    assert report["ledger"]["offered"] == 9
    assert report["ledger"]["absent"] == 1


def test_a_candidate_waits_and_is_adopted(make_collection: Any, store: LocalStore) -> None:
    collection = make_collection(rows(5))
    (report,) = go(collection, store, promote=False)
    assert report["state"] == "candidate"
    with pytest.raises(NotPublished, match="no promoted release"):
        opened(store)
    (report,) = go(collection, store)
    assert report["state"] == "promoted"
    assert numbers(store, NAME) == [1]


def test_the_loser_of_a_race_conflicts_and_then_plans_again(
    make_collection: Any, store: LocalStore
) -> None:
    files = {f"p{n}/a.jsonl": json.dumps({"id": f"i{n}", "text": "x" * n}).encode() for n in (1, 2)}
    collection = make_collection(source={"uri": "p{partition}/*.jsonl"}, files=files)
    first, second = (
        Work(Run(f"run{n}", collection, store, Scope(partition=str(n)), quiet=True),
             collection.space[0])
        for n in (1, 2)
    )  # fmt: skip
    for work in (first, second):
        pull_stage(work.run)
        encode_stage(work, plan_stage(work)["shards"])
        validate_stage(work)
    promote_stage(first, publish_stage(first).number)
    late = publish_stage(second).number
    with pytest.raises(Conflict):
        promote_stage(second, late)
    assert opened(store).to_arrow()["id"].to_pylist() == ["i1"]
    go(collection, store, scope=Scope(partition="2"))
    assert sorted(opened(store).to_arrow()["id"].to_pylist()) == ["i1", "i2"]
    assert verify_space(store, "things/text")["ok"]


def test_finished_shards_are_not_encoded_again(make_collection: Any, store: LocalStore) -> None:
    collection = make_collection(rows(60), run={"shard_rows": 10})
    run = Run("interrupted", collection, store, quiet=True)
    pull_stage(run)
    work = Work(run, collection.space[0])
    shards = plan_stage(work)["shards"]
    assert len(shards) > 2
    done = encode_stage(work, shards[:2])
    (report,) = go(collection, store)
    assert report["ledger"]["encoded"] == 60
    assert report["shards"] == {"planned": len(shards), "encoded": len(shards) - len(done)}


def test_plan_leaves_nothing_behind(make_collection: Any, store: LocalStore) -> None:
    collection = make_collection(rows(7))
    run = Run(new_run_id(), collection, store, quiet=True)
    (plan,) = plan_collection(run, list(collection.space))
    assert plan["encode"] == 7
    assert store.list("") == []


def test_a_mistake_leaves_nothing_behind(make_collection: Any, store: LocalStore) -> None:
    misspelt = [{"name": "text", "encoder": "hashed", "fields": ["txt"]}]
    with pytest.raises(UserMistake, match="did you mean 'text'"):
        go(make_collection(rows(3), spaces=misspelt), store)
    assert store.list("") == []


def test_a_space_without_items_is_a_mistake(make_collection: Any, store: LocalStore) -> None:
    with pytest.raises(UserMistake, match="no items"):
        go(make_collection([]), store)


def test_many_rows_are_cut_into_buckets_that_share_parts(
    make_collection: Any, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonspace.pipeline.publish.parts.PART_ROWS", 64)
    go(make_collection(rows(300)), store)
    first = opened(store).release
    assert len(first.parts) == 8
    go(make_collection([{**rows(300)[0], "text": "changed"}, *rows(300)[1:]]), store)
    second = opened(store).release
    assert len({p.key for p in first.parts} & {p.key for p in second.parts}) == 7
    go(make_collection(rows(600)), store)
    assert len(opened(store)) == 600
    assert verify_space(store, "things/text")["ok"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_verify_finds_a_damaged_part(make_collection: Any, store: LocalStore, damage: str) -> None:
    go(make_collection(rows(50)), store)
    path = Path(opened(store).files()[0])
    data = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data if damage == "flip" else data[:-100])
    answer = verify_space(store, "things/text")
    assert not answer["ok"]
    assert path.name in answer["problems"][0]


def test_verify_finds_a_damaged_manifest(make_collection: Any, store: LocalStore) -> None:
    go(make_collection(rows(5)), store)
    path = store.root / release_key(NAME, 1)
    path.write_text(path.read_text().replace('"rows": 5', '"rows": 6'))
    with pytest.raises(ContractBroken, match="checksum"):
        load_release(store, NAME, 1)


def test_verify_finds_and_repairs_a_foreign_write_to_lancedb(
    make_collection: Any, store: LocalStore
) -> None:
    go(make_collection(rows(20)), store)
    table = open_table(connect(str(store.root)), NAME.table)
    assert table is not None
    table.delete("id = 'i0003'")
    before = (store.root / current_key(NAME)).read_text()
    pointer = json.loads(before)
    assert verify_space(store, "things/text")["ok"], "readers are pinned to the promoted version"
    pointer["table_version"] = table.version
    del pointer["sha256"]
    (store.root / current_key(NAME)).write_text(json.dumps(pointer))
    assert not verify_space(store, "things/text")["ok"]
    (store.root / current_key(NAME)).write_text(before)
    reader = opened(store)
    (store.root / current_key(NAME)).write_text(json.dumps(pointer))
    answer = verify_space(store, "things/text", repair=True)
    assert answer["ok"]
    assert reader.get(["i0003"])["found"].to_pylist() == [True], "its version is still there"
    assert (answer["repaired"], answer["rebuilt"], answer["restored"]) == (True, True, [])
    assert opened(store).get(["i0003"])["found"].to_pylist() == [True]


@pytest.mark.parametrize("damage", ["data", "manifest"])
def test_a_damaged_table_is_repaired(make_collection: Any, store: LocalStore, damage: str) -> None:
    go(make_collection(rows(200)), store)
    folder = "data" if damage == "data" else "_versions"
    for path in (store.root / f"lancedb/{NAME.table}.lance" / folder).iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not verify_space(store, "things/text")["ok"]
    assert verify_space(store, "things/text", repair=True)["ok"]
    assert len(opened(store).search("item 7", k=3)) == 3


def test_a_lost_table_is_rebuilt_by_the_next_run(make_collection: Any, store: LocalStore) -> None:
    collection = make_collection(rows(20))
    go(collection, store)
    connect(str(store.root)).drop_table(NAME.table)
    go(collection, store)
    assert verify_space(store, "things/text")["ok"]


def test_a_table_of_another_contract_is_refused(make_collection: Any, store: LocalStore) -> None:
    alien = pa.table({"id": ["x"], "vector": pa.array([[1.0] * 64], pa.list_(pa.float32(), 64))})
    connect(str(store.root)).create_table(NAME.table, alien)
    (report,) = go(make_collection(rows(5)), store)
    assert "carries no contract" in report["what"]
    with pytest.raises(NotPublished, match="no promoted release"):
        opened(store)


def stages_until_validate(work: Work, meddle: Any = lambda: None) -> None:
    pull_stage(work.run)
    shards = plan_stage(work)["shards"]
    meddle()
    encode_stage(work, shards)
    validate_stage(work)


@pytest.mark.parametrize("damage", ["other text", "no longer JSON"])
def test_a_source_that_changes_during_a_run_is_tried_again(
    make_collection: Any, store: LocalStore, tmp_path: Path, damage: str
) -> None:
    collection = make_collection(rows(20))
    data = tmp_path / "things.jsonl"
    whole = data.read_text()
    broken = whole.replace("of item 3", "of iTem 3") if damage == "other text" else (
        whole.replace('{"id": "i0003"', '["id"; "i0003"'))  # fmt: skip
    work = Work(Run("first", collection, store, quiet=True), collection.space[0])
    with pytest.raises(GateRefused, match="reject_share"):
        stages_until_validate(work, lambda: data.write_text(broken))
    data.write_text(whole)
    (report,) = go(collection, store)
    assert report["ledger"]["encoded"] == 20
    assert report["rejects_by_reason"] == {}


def test_a_passing_failure_leaves_the_published_row(
    make_collection: Any, store: LocalStore, tmp_path: Path
) -> None:
    spaces = [{"name": "text", "encoder": "hashed/64", "image": "image"}]
    data = [{"id": f"i{n}", "image": f"{n}.bin"} for n in range(10)]
    files = {f"{n}.bin": f"bytes {n}".encode() for n in range(10)}
    gates = {"max_reject_share": 0.5, "max_deleted_share": 0.0}
    collection = make_collection(data, spaces=spaces, files=files, gates=gates)
    go(collection, store)
    (tmp_path / "3.bin").unlink()
    (report,) = go(collection, store)
    assert report["ledger"]["rejected"] == 1
    assert report["ledger"]["deleted"] == 0
    assert opened(store).get(["i3"])["found"].to_pylist() == [True]
    assert opened(store).rejects["retryable"].to_pylist() == [True]
    (tmp_path / "3.bin").write_bytes(b"bytes 3")
    (report,) = go(collection, store)
    assert report["ledger"]["kept"] == 10
    assert len(opened(store).rejects) == 0


def test_a_misspelt_metadata_column_is_a_mistake(make_collection: Any, store: LocalStore) -> None:
    with pytest.raises(UserMistake, match="did you mean 'tag'"):
        go(make_collection(rows(3, tag="a"), source={"metadata": ["tagg"]}), store)
