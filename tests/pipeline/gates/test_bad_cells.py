"""Metadata that cannot be read is null, said, and limited; its item keeps its vector."""

from __future__ import annotations

from typing import Any

import pytest

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.gates.bad_cells import bad_cells_gate
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.source.records import Scope
from tests.support.gate_reports import gate, refused
from tests.support.warehouse import NAME, Warehouse, numbered_items

YEARS = {"source": {"metadata": {"year": "int64"}}}


@pytest.mark.parametrize(
    ("limits", "ok", "limit"),
    [
        ({}, False, "max_reject_share is 1.0%"),
        ({"max_reject_share": 0.25}, True, "max_reject_share is 25.0%"),
        ({"max_bad_cell_share": 0.25}, True, "max_bad_cell_share is 25.0%"),
        ({"max_bad_cell_share": 0.24}, False, "max_bad_cell_share is 24.0%"),
        (
            {"max_reject_share": 1.0, "max_bad_cell_share": 0.0},
            False,
            "max_bad_cell_share is 0.0%",
        ),
    ],
)
def test_as_many_may_be_bad_as_rejects_unless_the_owner_says_otherwise(
    limits: dict[str, float], ok: bool, limit: str
) -> None:
    found = bad_cells_gate(2, 8, GatesSection(**limits), ["bad cell: 2 ('year' as int64)"])
    assert (found.ok, found.value) == (ok, 0.25)
    assert found.message == (
        f"2 of 8 items have metadata that cannot be read (25.0%, {limit}); "
        "bad cell: 2 ('year' as int64)"
    )


def test_no_item_is_no_bad_one() -> None:
    assert bad_cells_gate(0, 0, GatesSection()).ok


def test_a_bad_cell_is_null_and_said_and_its_row_has_a_vector(warehouse: Warehouse) -> None:
    items = numbered_items(20, year=1999)
    items[3]["year"], items[7]["year"] = "1,999", [1]
    options: dict[str, Any] = {**YEARS, "gates": {"max_bad_cell_share": 0.1}}
    report = warehouse.run_without_error(items, **options)
    assert (report["ledger"]["encoded"], report["ledger"]["rejected"]) == (20, 0)
    years = warehouse.open().get(["i0003", "i0004", "i0007"])["year"].to_pylist()
    assert years == [None, 1999, None]
    (notice,) = report["notices"]
    assert (notice["kind"], notice["about"], notice["count"]) == ("bad_cell", "'year' as int64", 2)
    assert "record 4" in notice["examples"][0]
    assert notice["examples"][0].endswith("'1,999'")
    assert gate(report, "bad_cells")["value"] == 0.1
    assert load_release(warehouse.store, NAME, 1).notices[0]["count"] == 2
    again = warehouse.run_without_error(items, **options)
    assert (again["state"], again["ledger"]["kept"]) == ("unchanged", 20)


def test_a_column_that_changed_its_type_is_refused_with_its_name(warehouse: Warehouse) -> None:
    warehouse.run_without_error(numbered_items(20, year=1999), **YEARS)
    report = warehouse.run(numbered_items(20, year="about 1999"), **YEARS)
    assert "'year' as int64" in refused(report, "bad_cells")
    assert warehouse.open().get(["i0003"])["year"].to_pylist() == [1999]


def test_a_few_ids_are_a_share_of_the_whole_space(warehouse: Warehouse) -> None:
    warehouse.run_without_error(numbered_items(200, year=1999), **YEARS)
    items = numbered_items(200, year=1999)
    items[3]["year"] = "MCMXCIX"
    report = warehouse.run_without_error(items, scope=Scope(ids=frozenset({"i0003"})), **YEARS)
    assert gate(report, "bad_cells")["value"] == 0.005


def test_a_field_that_a_whole_partition_lacks_is_said(warehouse: Warehouse) -> None:
    files = {
        "1.jsonl": b'{"id": "a", "text": "t", "year": 1}\n',
        "2.jsonl": b'{"id": "b", "text": "u"}\n',
    }
    options: dict[str, Any] = {
        "source": {"uri": "{partition}.jsonl", "metadata": {"year": "int64"}}, "files": files,
    }  # fmt: skip
    assert warehouse.run_without_error(**options, scope=Scope("1"))["notices"] == []
    (notice,) = warehouse.run_without_error(**options, scope=Scope("2"))["notices"]
    assert (notice["kind"], notice["about"]) == ("missing_field", "'year' of `metadata`")
