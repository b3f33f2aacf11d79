"""A run publishes under the contract that is stored; its metadata columns may come and go."""

from __future__ import annotations

import pytest

from commonspace.encoders.hashed import hashed_spec
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.release.contract_check import require_same_contract
from commonspace.pipeline.release.manifest import load_release
from tests.support.warehouse import NAME, Warehouse, numbered_items

COLUMNS = {"year": "int64", "title": "string"}


def contract(columns: dict[str, str], dim: int = 64) -> Contract:
    return Contract.of(NAME, hashed_spec(dim, "text"), columns)


def test_every_difference_is_named_but_a_column_may_come_or_go(warehouse: Warehouse) -> None:
    require_same_contract(warehouse.store, NAME, contract(COLUMNS, 8), None)
    items = numbered_items(3, year=1851, title="whales")
    warehouse.run(items, source={"metadata": COLUMNS})
    base = load_release(warehouse.store, NAME, 1)
    for columns in (COLUMNS, {}, {"year": "int64", "pages": "int64"}):
        require_same_contract(warehouse.store, NAME, contract(columns), base)
    other = contract({"year": "string", "pages": "int64"}, 8)
    with pytest.raises(ContractBroken) as refusal:
        require_same_contract(warehouse.store, NAME, other, base)
    lines = refusal.value.what.splitlines()
    assert lines[0] == "the space was published under another contract:"
    assert [line.strip() for line in lines[1:]] == [
        "dim: 64 -> 8",
        "metadata column year: int64 -> string",
    ]
    assert "version = 2" in str(refusal.value.do)
    # What the served release lacks is free, whatever an earlier one had.
    warehouse.run(items, source={"metadata": ["title"]})
    base = load_release(warehouse.store, NAME, 2)
    require_same_contract(warehouse.store, NAME, contract({"year": "string"}), base)
