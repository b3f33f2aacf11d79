"""The life of releases: candidates, promotion by hand, rollback and pins."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.errors import Conflict, NotPublished, UserMistake
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.release.history import classify_releases, list_releases
from commonspace.pipeline.release.manifest import number_ranges, release_numbers
from commonspace.pipeline.release.markers.pins import load_pins, pin_release, unpin_release
from commonspace.pipeline.run.process import run_stage
from tests.pipeline.release.releases import lancedb_ids, release_states
from tests.support.warehouse import NAME, Warehouse, numbered_items


def test_states_are_a_function_of_parents_and_history() -> None:
    parents = {1: 0, 2: 1, 3: 1, 4: 2, 5: 4, 6: 4, 7: 6}
    assert classify_releases(parents, 4, [1, 2]) == {
        1: "retired", 2: "retired", 3: "superseded", 4: "current", 5: "candidate", 6: "retired",
        7: "superseded",
    }  # fmt: skip
    assert classify_releases({1: 0}, 0, []) == {1: "candidate"}
    assert classify_releases({1: 0, 2: 1}, 1, [2]) == {1: "current", 2: "retired"}
    assert classify_releases({}, 0, []) == {}


def test_numbers_are_spoken() -> None:
    assert number_ranges([7, 1, 3, 4, 5]) == "1, 3 to 5, 7"
    assert number_ranges([]) == "none"


def test_a_candidate_waits_for_its_owner(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(10))
    report = warehouse.run(numbered_items(12), promote=False)
    assert report["state"] == "candidate"
    assert len(warehouse.open()) == 10
    assert lancedb_ids(warehouse) == {row["id"] for row in numbered_items(10)}
    assert release_states(warehouse) == {1: "current", 2: "candidate"}
    done = promote_by_hand(warehouse.store, NAME)
    assert (done.release, done.before, done.moved) == (2, 1, True)
    assert len(warehouse.open()) == 12
    assert release_states(warehouse) == {1: "retired", 2: "current"}
    assert warehouse.verify()["ok"]
    with pytest.raises(UserMistake, match="no candidate"):
        promote_by_hand(warehouse.store, NAME)


def test_the_collection_file_says_who_promotes(warehouse: Warehouse) -> None:
    spaces = [
        {"name": "text", "encoder": "hashed/64", "fields": ["text"], "promote": "auto"},
        {"name": "other", "encoder": "hashed/32", "fields": ["text"]},
    ]
    collection = warehouse.collection(
        numbered_items(5), spaces=spaces, collection={"promote": "manual"}
    )
    reports = warehouse.run_spaces(collection)
    assert [report["state"] for report in reports] == ["promoted", "candidate"]
    assert warehouse.run_spaces(collection, promote=True)[0]["state"] == "unchanged"
    assert len(warehouse.open("things/other")) == 5


def test_a_task_leaves_a_candidate_and_says_so(warehouse: Warehouse) -> None:
    space = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "promote": "manual"}
    collection = warehouse.collection(numbered_items(5), spaces=[space])

    def task(stage: str, shards: tuple[int, ...] = ()) -> dict[str, Any]:
        return run_stage(stage, collection, warehouse.store, "a", space="text/v1", shards=shards)

    run_stage("pull", collection, warehouse.store, "a")
    task("plan")
    task("encode", (0,))
    for stage in ("validate", "publish"):
        task(stage)
    reported = task("promote")
    assert (reported["promoted"], reported["waits"], reported["release"]) == (False, True, 1)
    assert task("report")["state"] == "candidate"
    promote_by_hand(warehouse.store, NAME)
    assert task("promote")["waits"] is False


def test_what_was_approved_is_promoted_and_nothing_else(warehouse: Warehouse) -> None:
    def waiting(run: str, count: int) -> Any:
        collection = warehouse.collection(numbered_items(count))
        run_stage("pull", collection, warehouse.store, run)
        for stage in ("plan", "encode", "validate", "publish"):
            run_stage(stage, collection, warehouse.store, run, space="text/v1")
        return collection

    first = waiting("a", 5)
    other = waiting("b", 6)
    for _ in range(2):  # a try that was killed before it could tell anybody is repeated
        reported = run_stage("approved", first, warehouse.store, "a", space="text/v1")
        assert (reported["promoted"], reported["waits"], reported["release"]) == (True, False, 1)
    report = run_stage("report", first, warehouse.store, "a", space="text/v1")
    assert (report["state"], report["promoted"]) == ("promoted", True)
    with pytest.raises(Conflict, match="release 1 has been promoted meanwhile") as late:
        run_stage("approved", other, warehouse.store, "b", space="text/v1")
    assert not late.value.retry
    assert release_states(warehouse) == {1: "current", 2: "superseded"}


def test_the_next_run_supersedes_a_waiting_candidate(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(10))
    warehouse.run(numbered_items(11), promote=False)
    report = warehouse.run(numbered_items(12), promote=False)
    assert report["ledger"]["kept"] == 10  # it plans from what is served
    assert release_states(warehouse) == {1: "current", 2: "superseded", 3: "candidate"}
    promote_by_hand(warehouse.store, NAME)
    with pytest.raises(Conflict, match="release 3 has been promoted meanwhile"):
        promote_by_hand(warehouse.store, NAME, 2)
    with pytest.raises(UserMistake, match="was served before"):
        promote_by_hand(warehouse.store, NAME, 1)
    assert release_states(warehouse) == {1: "retired", 2: "superseded", 3: "current"}


def test_a_candidate_is_not_made_twice(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(10))
    for _ in range(2):
        warehouse.run(numbered_items(12), promote=False)
    assert release_numbers(warehouse.store, NAME) == [1, 2]


def test_rolling_back_moves_both_tables(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3, items=10)
    reader = warehouse.open()
    done = roll_back(warehouse.store, NAME)
    assert (done.release, done.before) == (2, 3)
    assert len(warehouse.open()) == 20
    assert lancedb_ids(warehouse) == {row["id"] for row in numbered_items(20)}
    assert release_states(warehouse) == {1: "retired", 2: "current", 3: "retired"}
    assert warehouse.verify()["ok"]
    assert all(reader.get([row["id"] for row in numbered_items(30)])["found"].to_pylist())
    roll_back(warehouse.store, NAME)
    assert release_states(warehouse) == {1: "current", 2: "retired", 3: "retired"}
    with pytest.raises(UserMistake, match="release 1 is the first"):
        roll_back(warehouse.store, NAME)
    assert roll_back(warehouse.store, NAME, 3).before == 1
    assert len(warehouse.open()) == 30


def test_the_run_after_a_rollback_plans_from_what_is_served(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3, items=10)
    roll_back(warehouse.store, NAME)
    report = warehouse.run(numbered_items(25))
    assert (report["release"], report["ledger"]["kept"]) == (4, 20)
    assert release_states(warehouse) == {1: "retired", 2: "current", 3: "retired", 4: "candidate"}
    promote_by_hand(warehouse.store, NAME)
    assert release_states(warehouse) == {1: "retired", 2: "retired", 3: "retired", 4: "current"}
    assert roll_back(warehouse.store, NAME).release == 2


def test_an_unchanged_plan_does_not_undo_a_rollback(warehouse: Warehouse) -> None:
    """The run was planned when release 3 was served, and finds nothing new."""
    warehouse.publish_releases(3, items=10)
    collection = warehouse.collection(numbered_items(30))
    run_stage("pull", collection, warehouse.store, "late")
    for stage in ("plan", "encode", "validate", "publish"):
        run_stage(stage, collection, warehouse.store, "late", space="text/v1")
    roll_back(warehouse.store, NAME)
    reported = run_stage("promote", collection, warehouse.store, "late", space="text/v1")
    assert (reported["promoted"], reported["waits"]) == (False, True)
    assert reported["ledger"]["kept"] == 20  # planned again, from release 2


def test_what_was_never_served_is_not_rolled_back_to(warehouse: Warehouse) -> None:
    with pytest.raises(NotPublished):
        roll_back(warehouse.store, NAME)
    warehouse.run(numbered_items(10))
    warehouse.run(numbered_items(11), promote=False)
    with pytest.raises(UserMistake, match="never served"):
        roll_back(warehouse.store, NAME, 2)
    with pytest.raises(NotPublished, match=r"there is no release 9 \(kept: 1 to 2\)"):
        roll_back(warehouse.store, NAME, 9)


def test_releases_say_what_they_changed(warehouse: Warehouse) -> None:
    options = {"gates": {"max_deleted_share": 1.0}}
    warehouse.run(numbered_items(10), **options)
    data = [
        {"id": "i0000", "text": "another text"},
        *numbered_items(8)[1:],
        {"id": "new", "text": "new"},
    ]
    warehouse.run(data, **options)
    first, second = warehouse.open().releases()
    assert (first.added, first.changed, first.removed) == (10, 0, 0)
    assert (second.added, second.changed, second.removed) == (1, 1, 2)
    assert second.promoted_at is not None
    assert second.parent == 1


def test_another_release_is_read_from_parquet(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"source": {"metadata": ["text", "tag"]}}
    old = [
        {**row, "tag": "even" if n % 2 == 0 else "odd"} for n, row in enumerate(numbered_items(30))
    ]
    warehouse.run(old, **options)
    table = warehouse.open()
    warehouse.run([{**row, "text": "else"} for row in old], **options)
    kept = warehouse.open().at(1)
    assert kept.to_arrow().equals(table.to_arrow())
    for where in (None, {"tag": "odd"}, {"tag": "none"}):
        one = kept.search("text of item 3", k=5, where=where)
        other = table.search("text of item 3", k=5, where=where)
        assert one.schema.names == other.schema.names
        assert one["similarity"].to_pylist() == pytest.approx(other["similarity"].to_pylist())
    ids = ["i0003", "no such id", "i0001"]
    assert kept.get(ids).to_pylist() == table.get(ids).to_pylist()
    assert kept.search(id="i0003", k=3)["id"].to_pylist() != []
    by_sql = kept.search("text of item 3", k=5, where="tag = 'odd'")
    assert by_sql.equals(kept.search("text of item 3", k=5, where={"tag": "odd"}))
    with pytest.raises(NotPublished, match="kept: 1 to 2"):
        kept.at(7)
    assert kept.at(1) is kept
    warehouse.run(old[:3], gates={"max_deleted_share": 1.0}, **options, promote=False)
    candidate = warehouse.open().at(3)
    assert candidate.get(["i0001"])["found"].to_pylist() == [True]


def test_pins_have_a_reason_and_stand(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    made = pin_release(warehouse.store, NAME, 1, "paper")
    assert pin_release(warehouse.store, NAME, 1) == made
    again = pin_release(warehouse.store, NAME, 1, "another reason")
    assert again == load_pins(warehouse.store, NAME)[1] == replace(made, reason="another reason")
    assert list_releases(warehouse.store, NAME)[0].pinned == "another reason"
    unpin_release(warehouse.store, NAME, 1)
    with pytest.raises(UserMistake, match="not pinned"):
        unpin_release(warehouse.store, NAME, 1)
    with pytest.raises(NotPublished):
        pin_release(warehouse.store, NAME, 2)
    assert not load_pins(warehouse.store, NAME)


def test_what_the_pointer_says_is_plain_json(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3, items=10)
    data = warehouse.store.read(current_key(NAME))
    assert data is not None
    document = json.loads(data.to_pybytes())
    assert [one["release"] for one in document["served"]] == [1, 2]


def test_columns_keep_their_order_when_the_file_names_them_in_another(warehouse: Warehouse) -> None:
    data = [{**row, "tag": "a", "about": "b"} for row in numbered_items(20)]
    warehouse.run(data, source={"metadata": ["tag", "about"]})
    first = warehouse.open().to_arrow()
    data[3] = {**data[3], "text": "another"}
    report = warehouse.run(data, source={"metadata": ["about", "tag"]})
    assert report["ledger"]["encoded"] == 1
    assert warehouse.open().to_arrow().schema.names == first.schema.names
    roll_back(warehouse.store, NAME)
    assert warehouse.open().to_arrow().equals(first)
    assert warehouse.verify()["ok"]
