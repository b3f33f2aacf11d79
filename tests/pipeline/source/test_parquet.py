"""Parquet as a source: only what is named is read, and damage is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, UnreadableRecord
from tests.pipeline.source.source_records import Scan, outcome, record, records_of
from tests.support.checkout import REPOSITORY
from tests.support.warehouse import Warehouse


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, **options)
    return bytes(out.getvalue().to_pybytes())


def test_parquet_reads_only_what_is_named(warehouse: Warehouse) -> None:
    table = pa.table({"id": [1, 2], "text": ["a", "b"], "image": [b"\x89PNG", None], "z": [0, 0]})
    spaces = [{"name": "i", "encoder": "hashed/64", "image": "image"}]
    source = open_source(
        warehouse.collection(
            source={"kind": "parquet", "uri": "x.parquet"}, spaces=spaces,
            files={"x.parquet": parquet(table, row_group_size=1)},
        )
    )  # fmt: skip
    rows = records_of(source.scan(EVERYTHING))
    assert [row.values for row in rows] == [
        {"id": 1, "image": b"\x89PNG"}, {"id": 2, "image": None},
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("group", [1, 100, 256, 1000])
def test_parquet_row_groups_of_any_size(rows: int, group: int, scan: Scan) -> None:
    table = pa.table({"id": pa.array(range(rows)), "text": pa.array(map(str, range(rows)))})
    found = outcome(scan("parquet", parquet(table, row_group_size=group)))
    assert found == [record(n, str(n)) for n in range(rows)]  # type: ignore[arg-type]


def test_a_missing_parquet_column_names_the_nearest(scan: Scan) -> None:
    with pytest.raises(UserMistake, match=r"no column 'text' \(did you mean 'texts'\?\)") as error:
        scan("parquet", parquet(pa.table({"id": ["1"], "texts": ["a"]})))
    assert not isinstance(error.value, SourceNotFound)


@pytest.mark.parametrize("data", [b"PAR1PAR1", b"id,text\n1,a\n" * 9, bytes(1000)])
def test_a_file_that_is_no_parquet(data: bytes, scan: Scan) -> None:
    with pytest.raises(SourceNotFound, match="not a readable Parquet file"):
        scan("parquet", data)


def test_damaged_parquet_pages_are_reported(scan: Scan) -> None:
    texts = [f"text {n}" for n in range(2000)]
    table = pa.table({"id": texts, "text": texts})
    data = parquet(table, write_page_checksum=True, compression="none", use_dictionary=False)
    at = data.index(b"text 1500")
    with pytest.raises(SourceNotFound, match="not a readable Parquet file"):
        scan("parquet", data[:at] + b"X" + data[at + 1 :])


def test_parquet_values_that_python_cannot_hold_are_rejects_of_their_own(scan: Scan) -> None:
    binary = pa.array([b"a", b"\xff", b"c"])
    text = pa.StringArray.from_buffers(3, binary.buffers()[1], binary.buffers()[2])
    rows = scan("parquet", parquet(pa.table({"id": ["1", "2", "3"], "text": text})))
    assert outcome(rows) == [record("1", "a"), Reason.BAD_RECORD, record("3", "c")]
    assert isinstance(rows[1], UnreadableRecord)


def test_parquet_dates_out_of_pythons_range(scan: Scan) -> None:
    days = pa.array([0, 10_000_000], pa.int32()).cast(pa.date32())
    rows = scan("parquet", parquet(pa.table({"id": ["1", "2"], "text": days})))
    assert [isinstance(row, UnreadableRecord) for row in rows] == [False, True]


def test_parquet_needs_no_pandas_for_nanoseconds(warehouse: Warehouse, tmp_path: Path) -> None:
    """pandas is not among the dependencies; Arrow asks for it where nanoseconds are odd."""
    times = pa.array([1_000_000_000_000_000_001, 2_000], pa.timestamp("ns"))
    table = pa.table({"id": ["1", "2"], "text": ["a", "b"], "at": times})
    collection = warehouse.collection(
        source={"kind": "parquet", "uri": "x.parquet", "metadata": {"at": "timestamp"}},
        files={"x.parquet": parquet(table)},
    )
    script = (
        "import sys\n"
        "class NoPandas:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'pandas': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoPandas())\n"
        "from pathlib import Path\n"
        "from commonspace.pipeline.config.files import load_collection\n"
        "from commonspace.pipeline.source.records import EVERYTHING\n"
        "from commonspace.pipeline.source.open import open_source\n"
        f"source = open_source(load_collection(Path({str(collection.path)!r})))\n"
        "print([row.values['at'].isoformat() for row in source.scan(EVERYTHING)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=REPOSITORY,
    )  # fmt: skip
    assert done.stdout == "['2001-09-09T01:46:40', '1970-01-01T00:00:00.000002']\n", done.stderr
