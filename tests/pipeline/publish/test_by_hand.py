"""What a person is told who promotes or rolls back what cannot be."""

from __future__ import annotations

import pytest

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import announce, promotion_problems, withdraw
from commonspace.pipeline.release.manifest import load_release
from tests.support.warehouse import Warehouse, numbered_items

NAME = SpaceName("things", "text", 1)
LIFTS = "`commonspace promote things/text/v1 1` only lifts the hold."


def test_without_a_candidate_the_way_to_one_is_said(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    with pytest.raises(UserMistake, match="no candidate: release 1 is served") as raised:
        promote_by_hand(warehouse.store, NAME)
    assert "A run makes one" in str(raised.value.do)
    assert LIFTS not in str(raised.value.do)


def test_where_a_rollback_holds_the_space_the_way_out_is_said(warehouse: Warehouse) -> None:
    for count in (5, 6):
        warehouse.run(numbered_items(count))
    roll_back(warehouse.store, NAME, 1)
    with pytest.raises(UserMistake, match="no candidate: release 1 is served") as raised:
        promote_by_hand(warehouse.store, NAME)
    assert LIFTS in str(raised.value.do)
    result = promote_by_hand(warehouse.store, NAME, 1)
    assert (result.moved, result.hold) == (False, None)
    assert result.lifted is not None


def test_the_newest_candidate_is_meant(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    for count in (6, 7):
        warehouse.run(numbered_items(count), promote=False)
    assert promote_by_hand(warehouse.store, NAME).release == 3
    assert len(warehouse.open()) == 7


def test_an_interrupted_promotion_is_a_problem_until_it_is_over(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(5))
    assert promotion_problems(warehouse.store, NAME) == []
    release = load_release(warehouse.store, NAME, 1)
    for by, verb in (("rollback", "rollback"), ("promote", "promotion"), ("a-run", "promotion")):
        announce(warehouse.store, NAME, release, by)
        assert promotion_problems(warehouse.store, NAME) == [
            f"a {verb} to release 1 was interrupted: LanceDB may be ahead"
        ]
    withdraw(warehouse.store, NAME)
    withdraw(warehouse.store, NAME)
    assert promotion_problems(warehouse.store, NAME) == []


def test_a_rollback_that_is_called_again_keeps_its_hold_and_another_has_its_own(
    warehouse: Warehouse,
) -> None:
    for count in (5, 6, 7):
        warehouse.run(numbered_items(count))
    first = roll_back(warehouse.store, NAME, 2, "too many rows").hold
    assert first is not None
    assert roll_back(warehouse.store, NAME, 2).hold == first
    again = roll_back(warehouse.store, NAME, 2, "still too many").hold
    assert again is not None
    assert again.reason == "still too many"
    further = roll_back(warehouse.store, NAME, 1).hold
    assert further is not None
    assert further.reason == ""
