"""A rollback lasts: runs leave candidates until somebody promotes by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import current_key, promotion_key
from commonspace.pipeline.errors import Conflict, ContractBroken, UserMistake
from commonspace.pipeline.maintenance.retain import retain
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.publish.promote import Promotion, recover_promotion, serve
from commonspace.pipeline.read.catalog import list_spaces
from commonspace.pipeline.release.history import list_releases
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import Current, RollbackHold, load_current
from commonspace.pipeline.run.process import run_stage
from tests.support.killed_process import kill_at_change
from tests.support.warehouse import NAME, Warehouse, numbered_items


def run_and_log(warehouse: Warehouse, items: Any, **options: Any) -> tuple[dict[str, Any], str]:
    """The report of a run, and its messages."""
    messages: list[str] = []
    report = warehouse.run(items, log=messages.append, **options)
    return report, "\n".join(messages)


def hold(warehouse: Warehouse) -> RollbackHold | None:
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    return pointer.hold


def test_a_rollback_lasts_until_a_promotion_by_hand(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    done = roll_back(warehouse.store, NAME, reason="wrong titles")
    assert done.hold is not None
    assert (done.hold, done.hold.reason) == (hold(warehouse), "wrong titles")
    for promote in (None, True):  # a run that is told to promote is a run
        report, said = run_and_log(warehouse, numbered_items(4), promote=promote)
        assert (report["release"], report["state"], report["promoted"]) == (4, "candidate", False)
        assert report["held"] == {
            "release": 2, "since": done.hold.since, "reason": "wrong titles",
        }  # fmt: skip
        assert "things/text/v1 is HELD at release 2, release 4 waits (held since" in said
        assert "a rollback: wrong titles). `commonspace promote things/text/v1 4` serves" in said
    assert len(warehouse.open()) == 2
    assert {one.number: one.state for one in list_releases(warehouse.store, NAME)}[4] == "candidate"
    assert list_spaces(warehouse.store, [])[0]["held"]["reason"] == "wrong titles"
    assert warehouse.verify()["ok"]
    promoted = promote_by_hand(warehouse.store, NAME)
    assert (promoted.release, promoted.lifted, promoted.hold) == (4, done.hold, None)
    report, said = run_and_log(warehouse, numbered_items(5))
    assert (report["state"], report["held"]) == ("promoted", None)
    assert "HELD" not in said


def test_what_was_rolled_back_from_can_be_promoted_again(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    roll_back(warehouse.store, NAME)
    for _ in range(2):  # the candidate is not made twice
        report, _ = run_and_log(warehouse, numbered_items(3))
        assert (report["release"], report["state"]) == (4, "candidate")
    promote_by_hand(warehouse.store, NAME, 3)
    assert (len(warehouse.open()), hold(warehouse)) == (3, None)


def test_a_hold_is_lifted_where_the_space_is(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    roll_back(warehouse.store, NAME, 1)
    gates = {"max_deleted_share": 1.0}
    report, said = run_and_log(warehouse, numbered_items(1), gates=gates)
    assert report["state"] == "unchanged"
    assert "HELD at release 1 (" in said
    with pytest.raises(UserMistake, match="no candidate") as refusal:
        promote_by_hand(warehouse.store, NAME)
    assert "`commonspace promote things/text/v1 1` only lifts the hold" in refusal.value.do
    done = promote_by_hand(warehouse.store, NAME, 1)
    assert (done.moved, done.lifted is not None, hold(warehouse)) == (False, True, None)
    assert run_and_log(warehouse, numbered_items(2))[0]["state"] == "promoted"


def test_a_space_can_be_held_where_it_is(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    assert roll_back(warehouse.store, NAME, 3, "an audit").moved is False
    first = hold(warehouse)
    assert roll_back(warehouse.store, NAME, 3).hold == first  # the same call again
    assert roll_back(warehouse.store, NAME, 3, "another one").hold != first
    assert run_and_log(warehouse, numbered_items(4))[0]["state"] == "candidate"
    assert len(warehouse.open()) == 3


def test_a_rollback_is_not_lost_to_a_run_that_was_about_to_promote(warehouse: Warehouse) -> None:
    """It planned from release 2, which is served again: only the hold tells it."""
    for number in (1, 2):
        run_and_log(warehouse, numbered_items(number))
    candidate, _ = run_and_log(warehouse, numbered_items(3), promote=False)
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    release = load_release(warehouse.store, NAME, candidate["release"])
    roll_back(warehouse.store, NAME, 2)
    with pytest.raises(Conflict, match="is held since"):
        serve(warehouse.store, NAME, contract, Promotion(release=release, by="a-run", after=2))
    assert len(warehouse.open()) == 2
    assert load_pending_promotion(warehouse.store, NAME) is None


def test_a_task_that_meets_a_hold_plans_again_and_waits(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    collection = warehouse.collection(numbered_items(5))
    run_stage("pull", collection, warehouse.store, "late")
    for stage in ("plan", "encode", "validate", "publish"):
        run_stage(stage, collection, warehouse.store, "late", space="text/v1", shards=(0,))
    roll_back(warehouse.store, NAME, reason="bad rows")
    reported = run_stage("promote", collection, warehouse.store, "late", space="text/v1")
    assert (reported["promoted"], reported["waits"], reported["release"]) == (False, True, 5)
    assert "bad rows" in reported["held"]
    report = run_stage("report", collection, warehouse.store, "late", space="text/v1")
    assert (report["state"], report["held"]["release"]) == ("candidate", 2)
    promote_by_hand(warehouse.store, NAME, 5)  # it follows what is served
    reported = run_stage("promote", collection, warehouse.store, "late", space="text/v1")
    assert (reported["held"], reported["waits"]) == (None, False)


def test_nobody_else_touches_the_hold(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    made = roll_back(warehouse.store, NAME, reason="kept").hold
    table = warehouse.root / "lancedb/things__text__v1.lance"
    for data in table.rglob("data/*.lance"):
        data.write_bytes(data.read_bytes()[:-100])
    assert warehouse.verify(repair=True)["ok"]
    retain(warehouse.store, NAME, 1)
    warehouse.store.put(promotion_key(NAME), b'{"release": 3, "by": "a-run"}')
    contract = load_contract(warehouse.store, NAME)
    assert contract is not None
    assert recover_promotion(warehouse.store, NAME, contract)
    assert hold(warehouse) == made


def test_a_damaged_hold_holds(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    roll_back(warehouse.store, NAME)
    data = warehouse.store.read(current_key(NAME))
    assert data is not None
    document = json.loads(data.to_pybytes())
    for damaged in ({**document, "hold": None}, {**document, "hold": {"since": 1, "why": ""}}):
        warehouse.store.put(current_key(NAME), json.dumps(damaged).encode())
        with pytest.raises(ContractBroken, match="is damaged"):
            load_current(warehouse.store, NAME)


def test_a_pointer_from_before_there_were_holds(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    data = warehouse.store.read(current_key(NAME))
    assert data is not None
    document = json.loads(data.to_pybytes())
    assert "hold" not in document
    del document["sha256"]
    assert Current.from_bytes(json.dumps(document).encode()) == load_current(warehouse.store, NAME)


@pytest.mark.crash
@pytest.mark.parametrize("point", [1, 2, 3])
def test_a_killed_rollback_has_its_hold_or_did_not_happen(warehouse: Warehouse, point: int) -> None:
    warehouse.publish_releases(3)
    answer = kill_at_change(
        point, warehouse, "rollback", "things/text", "--reason", "x", names=["PROMOTING", "CURRENT"]
    )
    assert answer.returncode == -9, answer.stderr
    happened = len(warehouse.open()) == 2
    assert happened == (point == 3)
    assert (hold(warehouse) is not None) == happened
    report, _ = run_and_log(warehouse, numbered_items(4))
    assert report["state"] == ("candidate" if happened else "promoted")
    assert load_pending_promotion(warehouse.store, NAME) is None


def test_a_killed_rollback_is_called_again(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3)
    warehouse.store.put(promotion_key(NAME), b'{"release": 2, "by": "rollback"}')
    done = roll_back(warehouse.store, NAME)
    assert (done.release, hold(warehouse)) == (2, done.hold)
