"""A process that is killed while it moves the pointer: its promotion is finished or undone."""

from __future__ import annotations

import pytest

from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.release.pointer import load_current
from tests.pipeline.release.releases import lancedb_ids
from tests.support.killed_process import kill_at_change
from tests.support.warehouse import NAME, Warehouse, numbered_items


def killed(warehouse: Warehouse, point: int, *arguments: str) -> bool:
    """Whether the command was killed at that change; it ended well otherwise."""
    answer = kill_at_change(point, warehouse, *arguments, names=["PROMOTING", "CURRENT"])
    assert answer.returncode in (0, -9), answer.stderr
    return answer.returncode == -9


@pytest.mark.crash
@pytest.mark.parametrize("point", [1, 2, 3])
def test_a_killed_promotion_is_finished_or_undone(warehouse: Warehouse, point: int) -> None:
    """The announcement, the pointer and the withdrawal are the changes it makes."""
    warehouse.run(numbered_items(10))
    warehouse.run(numbered_items(20), promote=False)
    assert killed(warehouse, point, "promote", "things/text")
    served = len(warehouse.open())
    assert served == (20 if point == 3 else 10)
    assert warehouse.open().get(["i0000"])["found"].to_pylist() == [True]
    assert len(warehouse.open().search("text", k=100)) == served
    interrupted = load_pending_promotion(warehouse.store, NAME) is not None
    assert interrupted == (point > 1)
    checked = warehouse.verify()
    assert checked["ok"] is not interrupted
    # Undone: LanceDB is what CURRENT says.
    repaired = warehouse.verify(repair=True)
    assert repaired["ok"]
    assert load_pending_promotion(warehouse.store, NAME) is None
    assert len(lancedb_ids(warehouse)) == served
    # Finished.
    if point < 3:
        promote_by_hand(warehouse.store, NAME)
    assert len(warehouse.open()) == len(lancedb_ids(warehouse)) == 20


@pytest.mark.crash
def test_a_killed_rollback_does_not_go_back_twice(warehouse: Warehouse) -> None:
    warehouse.publish_releases(3, items=10)
    assert killed(warehouse, 3, "rollback", "things/text")
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    assert pointer.release == 2
    assert roll_back(warehouse.store, NAME).moved is False
    assert load_pending_promotion(warehouse.store, NAME) is None
    assert len(warehouse.open()) == len(lancedb_ids(warehouse)) == 20


def test_a_run_that_promotes_nothing_undoes_a_killed_promotion(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(10))
    warehouse.run(numbered_items(20), promote=False)
    assert killed(warehouse, 2, "promote", "things/text")
    assert len(lancedb_ids(warehouse)) == 20
    warehouse.run(numbered_items(10), promote=False)
    assert load_pending_promotion(warehouse.store, NAME) is None
    assert len(lancedb_ids(warehouse)) == 10
    assert warehouse.verify()["ok"]
