"""Tables as other tools write them, through whole runs."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commonspace.pipeline.errors import NothingOffered
from tests.support.warehouse import Warehouse

GATES = {"max_reject_share": 0.6, "max_duplicate_vectors": 1.0}


def parquet(**columns: pa.Array) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


def run_file(warehouse: Warehouse, kind: str, data: bytes, **source: Any) -> dict[str, Any]:
    source = {"kind": kind, "uri": f"data.{kind}", **source}
    return warehouse.run(source=source, files={f"data.{kind}": data}, gates=GATES)


UUIDS = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(15) + b"\1"], pa.binary(16)))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([Decimal(10**37)], pa.decimal128(38, 0)), str(10**37)),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (UUIDS, "00000000-0000-0000-0000-000000000001"),
        (pa.array(["a"]).dictionary_encode(), "a"),
    ],
)
def test_ids_as_warehouses_unload_them(ids: pa.Array, expected: str, warehouse: Warehouse) -> None:
    report = run_file(warehouse, "parquet", parquet(id=ids, text=pa.array(["one"])))
    assert report["state"] == "promoted", report
    assert warehouse.open().to_arrow(["id"])["id"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("ids", "named"),
    [(pa.array([1.0]), "of type float"), (pa.array([date(2026, 1, 1)]), "of type date"),
     (pa.array([bytes(16)], pa.binary(16)), "of type bytes"),
     (pa.array([Decimal("1.00")], pa.decimal128(9, 2)), "a decimal of scale 2")],
)  # fmt: skip
def test_ids_of_several_spellings_are_refused_by_their_type(
    ids: pa.Array, named: str, warehouse: Warehouse
) -> None:
    with pytest.raises(NothingOffered, match=f"the id is {named}, not "):
        run_file(warehouse, "parquet", parquet(id=ids, text=pa.array(["one"])))


def test_a_column_of_integers_that_a_tool_made_floats(warehouse: Warehouse) -> None:
    data = b'id,text,year\n1,one,1999.0\n2,two,\n3,three,1e3\n4,four,"1,999"\n5,five, 7 \n'
    report = run_file(warehouse, "csv", data, metadata={"year": "int64"})
    years = warehouse.open().get(["1", "2", "3", "4", "5"])["year"].to_pylist()
    assert years == [1999, None, 1000, None, 7]
    assert [notice["count"] for notice in report["notices"]] == [1]


def test_numbers_in_a_column_of_titles(warehouse: Warehouse) -> None:
    lines = [b'"Emma"', b"1984", b"7.5", b"true", b'["a",null,2]', b'{"en":"x"}', b"null", b'"  "']
    data = b"".join(b'{"id":%d,"text":%b}\n' % (n, line) for n, line in enumerate(lines))
    report = run_file(warehouse, "jsonl", data)
    assert report["rejects_by_reason"] == {"wrong_type": 1, "empty_text": 1}
    assert (report["ledger"]["encoded"], report["ledger"]["absent"]) == (5, 1)
