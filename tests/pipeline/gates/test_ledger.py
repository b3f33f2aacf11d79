"""The gates over a run's account, number by number."""

from __future__ import annotations

import pytest

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.gates.ledger import Ledger, ScopeCounts, account_gates

LIMITS = GatesSection(max_reject_share=0.25, max_deleted_share=0.5)


def asked(
    ledger: Ledger, *, deletable: int = 0, untouched: int = 0, carried: int = 0
) -> list[bool]:
    counts = ScopeCounts(deletable=deletable, untouched=untouched, carried=carried)
    return [gate.ok for gate in account_gates(ledger, counts, LIMITS)]


@pytest.mark.parametrize("state", ["encoded", "reused", "kept", "rejected"])
def test_every_state_counts_once(state: str) -> None:
    others = Ledger(offered=8, encoded=2, reused=2, kept=3, rejected=1)
    assert asked(others)[0]
    values = others.to_json()
    assert Ledger.from_json(values) == others
    for change in (1, -1):
        assert not asked(Ledger(**{**values, state: values[state] + change}))[0]
    ledger = account_gates(others, ScopeCounts(deletable=0, untouched=0, carried=0), LIMITS)[0]
    assert (ledger.name, ledger.value, ledger.limit) == ("ledger", 8, 8)
    assert ledger.message == "8 items were offered, 8 are accounted for"


def test_a_ledger_begins_empty() -> None:
    assert set(Ledger().to_json().values()) == {0}


def test_nothing_has_a_share_of_nothing() -> None:
    gates = account_gates(Ledger(), ScopeCounts(deletable=0, untouched=0, carried=0), LIMITS)
    assert [(gate.value, gate.ok) for gate in gates] == [(0, True), (0.0, True), (0.0, True)]


def test_the_share_of_rejects_is_that_of_the_whole_space() -> None:
    """A limit may be reached, and not passed."""
    counts = ScopeCounts(deletable=0, untouched=12, carried=2)
    at_limit = Ledger(offered=4, encoded=2, rejected=2)
    _, gate, _ = account_gates(at_limit, counts, LIMITS)
    assert (gate.ok, gate.value, gate.limit) == (True, 4 / 16, 0.25)
    assert gate.message == "4 of 16 items are rejects (25.0%, max_reject_share is 25.0%)"
    over = Ledger(offered=4, encoded=1, rejected=3)
    _, gate, _ = account_gates(over, counts, LIMITS)
    assert (gate.ok, gate.value) == (False, 5 / 16)


def test_the_share_of_deletes_is_that_of_what_the_run_may_delete() -> None:
    assert asked(Ledger(deleted=5), deletable=10)[2]
    assert not asked(Ledger(deleted=6), deletable=10)[2]
    gate = account_gates(
        Ledger(deleted=6), ScopeCounts(deletable=10, untouched=99, carried=0), LIMITS
    )[2]
    assert (gate.name, gate.value, gate.limit) == ("deleted_share", 0.6, 0.5)
    assert gate.message == ("6 of 10 published rows would go (60.0%, max_deleted_share is 50.0%)")
