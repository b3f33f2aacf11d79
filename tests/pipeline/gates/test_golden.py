"""Golden queries: their ids are found, or the run is refused."""

from __future__ import annotations

import json
from typing import Any

from commonspace.pipeline.source.records import Scope
from tests.support.gate_reports import gate, refused, untouched
from tests.support.warehouse import Warehouse, numbered_items


def golden(*lines: Any) -> dict[str, bytes]:
    reported = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return {"golden.jsonl": "\n".join(reported).encode()}


SPACE = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "golden": "golden.jsonl"}


def test_golden_queries_hold_or_the_run_is_refused(warehouse: Warehouse) -> None:
    files = golden({"query": "the text of item 5", "ids": ["i0005"], "k": 1}, "",
                   {"query": "item 9", "ids": ["i0009"]})  # fmt: skip
    collection = warehouse.collection(numbered_items(30), spaces=[SPACE], files=files)
    report = warehouse.run(collection)
    assert gate(report, "golden")["value"] == 1.0
    before = untouched(warehouse)
    data = [
        *numbered_items(30),
        *({"id": f"x{n}", "text": f"item 9{chr(97 + n)}"} for n in range(20)),
    ]
    report = warehouse.run(data, spaces=[SPACE])
    said = refused(report, "golden")
    assert "1 of 2 golden ids" in said
    assert "missed first: 'item 9' wants 'i0009'" in said
    assert untouched(warehouse) == before
    report = warehouse.run(data, spaces=[SPACE], gates={"min_golden_recall": 0.3})
    assert gate(report, "golden")["value"] == 0.5
    assert report["state"] == "promoted"


def test_a_golden_item_that_is_deleted_is_missed(warehouse: Warehouse) -> None:
    """Nothing is encoded in that run: the query alone is."""
    options: dict[str, Any] = {
        "spaces": [SPACE], "files": golden({"query": "item 5", "ids": ["i0005"]}),
        "gates": {"max_deleted_share": 1.0},
    }  # fmt: skip
    warehouse.run(numbered_items(30), **options)
    report = warehouse.run(numbered_items(20, first=10), **options)
    refused(report, "golden")
    report = warehouse.run(numbered_items(20), **options)
    assert gate(report, "golden")["value"] == 1.0
    report = warehouse.run(numbered_items(20), **options)
    assert gate(report, "golden")["value"] is None


def test_items_of_passages_are_golden_too(warehouse: Warehouse) -> None:
    space = {**SPACE, "overflow": "rows"}
    data = [{"id": f"i#{n}", "text": f"{n} is told of. " * 60} for n in range(10, 20)]
    files = golden({"query": "13 is told of", "ids": ["i#13"]},
                   {"query": "15 is told of", "ids": ["i#15#00000"], "k": 20})  # fmt: skip
    report = warehouse.run(data, spaces=[space], files=files)
    assert gate(report, "golden")["value"] == 1.0


def test_a_run_over_a_part_does_not_judge_ids_to_come(warehouse: Warehouse) -> None:
    lines = [json.dumps(row) + "\n" for row in numbered_items(20)]
    files = {"a.jsonl": "".join(lines[:10]).encode(), "b.jsonl": "".join(lines[10:]).encode()}
    files |= golden({"query": "item 5", "ids": ["i0005", "i0015"], "k": 20})
    options: dict[str, Any] = {"source": {"uri": "{partition}.jsonl"}, "spaces": [SPACE]}
    (warehouse.root.parent / "x").mkdir()
    collection = warehouse.collection(files=files, **options)
    report = warehouse.run(collection, scope=Scope(partition="a"))
    assert "1 of 1 golden ids" in gate(report, "golden")["message"]
    assert "1 ids outside the run's scope" in gate(report, "golden")["message"]
    report = warehouse.run(collection, scope=Scope(partition="b"))
    assert "2 of 2 golden ids" in gate(report, "golden")["message"]


def test_a_golden_item_that_a_run_over_a_part_removes_is_missed(warehouse: Warehouse) -> None:
    lines = [json.dumps(row) + "\n" for row in numbered_items(20)]
    files = {"of-a.jsonl": "".join(lines[:10]).encode(), "of-b.jsonl": "".join(lines[10:]).encode()}
    files |= golden({"query": "item 5", "ids": ["i0005"], "k": 20})
    options: dict[str, Any] = {"source": {"uri": "of-{partition}.jsonl"}, "spaces": [SPACE],
                               "gates": {"max_deleted_share": 1.0}}  # fmt: skip
    assert "error" not in warehouse.run(files=files, **options)
    files["of-a.jsonl"] = "".join(lines[:5] + lines[6:10]).encode()
    report = warehouse.run(files=files, **options, scope=Scope(partition="a"))
    refused(report, "golden")


def test_golden_images(warehouse: Warehouse) -> None:
    space = {"name": "text", "encoder": "hashed/64", "image": "image", "golden": "asked/g.jsonl"}
    photos = {f"photos/{n}.png": bytes([n] * 40) for n in range(1, 20)}
    asked = json.dumps({"image": "../photos/7.png", "ids": ["7"], "k": 1}).encode()
    report = warehouse.run(
        files={**photos, "asked/g.jsonl": asked}, spaces=[space],
        source={"kind": "folder", "uri": "photos", "id": ""},
    )  # fmt: skip
    assert gate(report, "golden")["value"] == 1.0
