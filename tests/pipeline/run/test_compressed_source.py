"""A compressed source through whole runs: published as it is, and nothing lost where it is cut."""

from __future__ import annotations

import gzip

import pyarrow as pa

from tests.pipeline.source.test_parquet import parquet
from tests.support.collection_file import jsonl
from tests.support.warehouse import Warehouse, numbered_items

GATES = {"max_reject_share": 0.5, "max_duplicate_vectors": 1.0}


def test_a_cut_dump_keeps_what_is_published(warehouse: Warehouse) -> None:
    data = gzip.compress(jsonl(numbered_items(40_000)[::200]) + jsonl(numbered_items(3000)[1::2]))
    cut = data[: len(data) * 2 // 3]
    first = warehouse.run_without_error(files={"things.jsonl": data}, gates=GATES)
    rows = warehouse.open().to_arrow().num_rows
    assert first["ledger"]["encoded"] == rows
    report = warehouse.run_without_error(files={"things.jsonl": cut}, gates=GATES)
    assert report["ledger"]["deleted"] == 0
    assert warehouse.open().to_arrow().num_rows == rows
    (reject,) = warehouse.open().rejects.to_pylist()
    assert (reject["reason"], reject["retryable"]) == ("source_unreadable", True)
    assert reject["place"].startswith("record ")
    again = warehouse.run_without_error(files={"things.jsonl": data}, gates=GATES)
    assert (again["ledger"]["deleted"], again["rejects_by_reason"]) == (0, {})
    assert warehouse.verify()["ok"]


def test_a_row_group_that_is_not_read_keeps_what_is_published(warehouse: Warehouse) -> None:
    ids = [f"i{n}" for n in range(40)]
    table = pa.table({"id": ids, "text": [f"text {n}" for n in range(40)]})
    bomb = table.set_column(
        1, "text", pa.array([*table["text"].to_pylist()[:25], "x" * 2**25, *map(str, range(14))])
    )
    source = {"kind": "parquet", "uri": "raw.parquet"}
    options = {"source": source, "gates": GATES, "limits": {"max_record_bytes": 2**20}}
    for data in (table, bomb):
        files = {"raw.parquet": parquet(data, row_group_size=10, compression="zstd")}
        report = warehouse.run_without_error(files=files, **options)
    assert report["ledger"]["deleted"] == 0
    assert report["rejects_by_reason"] == {"too_large": 1}
    assert warehouse.open().to_arrow().num_rows == 40
    assert warehouse.open().rejects["place"].to_pylist() == ["row group 2, row 0, record 21"]
