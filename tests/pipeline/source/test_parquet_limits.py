"""Rows and pages of Parquet beyond the limit: told before they are read, or before they are Python.

A page is refused by its header; what is behind it in its row group is not read, and not lost.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from commonspace.pipeline.source.row_groups.batches import BATCH_BYTES, RowBatches
from commonspace.pipeline.source.row_groups.footer import Chunk, read_row_groups
from commonspace.pipeline.source.row_groups.pages import column_pages
from tests.pipeline.source.source_records import (
    extents_of,
    outcome,
    record,
    records_of,
    rows_of,
)
from tests.pipeline.source.test_parquet import parquet
from tests.support.checkout import REPOSITORY
from tests.support.warehouse import Warehouse

LIMIT = 2**20
BOMB = "x" * (20 * 2**20)


def scan(
    warehouse: Warehouse, data: bytes, limit: int = LIMIT
) -> tuple[list[Record | UnreadableRecord], End]:
    """The rows of a file, each of the good ones loaded again, and how it ended."""
    source = open_source(
        warehouse.collection(
            source={"kind": "parquet", "uri": "raw.parquet"},
            files={"raw.parquet": data}, limits={"max_record_bytes": limit},
        )
    )  # fmt: skip
    scanned = list(source.scan(EVERYTHING))
    rows, good = rows_of(scanned), records_of(scanned)
    assert list(source.load([row.locator for row in good])) == good
    assert list(source.load([row.locator for row in good[::-1]])) == good[::-1]
    return rows, extents_of(scanned)[0].end


@pytest.mark.parametrize("use_dictionary", [True, False])
def test_a_cell_that_was_compressed_to_nothing(use_dictionary: bool, warehouse: Warehouse) -> None:
    table = pa.table({"id": list("1234"), "text": ["a", "b", BOMB, "d"]})
    data = parquet(table, row_group_size=1, compression="zstd", use_dictionary=use_dictionary)
    rows, end = scan(warehouse, data)
    assert outcome(rows) == [
        record("1", "a"), record("2", "b"), Reason.TOO_LARGE, record("4", "d"),
    ]  # fmt: skip
    bad = rows[2]
    assert isinstance(bad, UnreadableRecord)
    assert bad.place == "row group 2, row 0, record 3"
    assert bad.failure.message == (
        "not read: column 'text' has too many bytes; `max_record_bytes` in [limits] is 1,048,576"
    )
    assert end is End.CUT


def test_a_row_group_with_such_a_page_is_one_reject(warehouse: Warehouse) -> None:
    table = pa.table({"id": list("123456"), "text": [["a"], ["b"], [BOMB], ["d"], ["e"], ["f"]]})
    rows, end = scan(warehouse, parquet(table, row_group_size=2, compression="zstd"))
    assert [getattr(row, "place", None) for row in rows] == [
        "row group 0, row 0, record 1", "row group 0, row 1, record 2",
        "row group 1, row 0, record 3",
        "row group 2, row 0, record 5", "row group 2, row 1, record 6",
    ]  # fmt: skip
    assert isinstance(rows[2], UnreadableRecord)
    assert rows[2].failure.message.startswith(
        "not read: a page of column 'text', of this row and the 1 behind it, has too many bytes; "
    )
    assert end is End.CUT


def test_a_column_that_nobody_names_may_be_of_any_size(warehouse: Warehouse) -> None:
    table = pa.table({"id": ["1"], "text": ["a"], "text.b": [BOMB], "other": [BOMB]})
    rows, end = scan(warehouse, parquet(table, compression="zstd"), limit=100)
    assert (outcome(rows), end) == ([Reason.TOO_LARGE], End.CUT)  # `text.b` may be within `text`
    rows, end = scan(warehouse, parquet(table.drop_columns(["text.b"]), compression="zstd"))
    assert (outcome(rows), end) == ([record("1", "a")], End.WHOLE)


@pytest.mark.parametrize("ids", [["1", "2", "3"], [1, 2, 3]])
def test_a_row_that_can_be_read_is_a_reject_of_its_own(ids: Any, warehouse: Warehouse) -> None:
    rng = random.Random(0)
    long = rng.randbytes(LIMIT).hex()
    rows, end = scan(warehouse, parquet(pa.table({"id": ids, "text": ["a", long, "c"]})))
    assert outcome(rows) == [record(ids[0], "a"), Reason.TOO_LARGE, record(ids[2], "c")]
    bad = rows[1]
    assert isinstance(bad, UnreadableRecord)
    assert (bad.id, bad.place, end) == ("2", "row group 0, row 1, record 2", End.WHOLE)
    assert bad.failure.message == (
        "the record has too many bytes; `max_record_bytes` in [limits] is 1,048,576"
    )


def test_pages_of_many_small_rows_may_be_larger_than_the_limit(warehouse: Warehouse) -> None:
    rng = random.Random(0)
    texts = [rng.randbytes(10_000).hex() for _ in range(1000)]
    data = parquet(
        pa.table({"id": list(map(str, range(1000))), "text": texts}),
        data_page_size=2**30, write_batch_size=1000, use_dictionary=False,
    )  # fmt: skip
    rows, end = scan(warehouse, data)
    assert outcome(rows) == [record(str(n), text) for n, text in enumerate(texts)]
    assert end is End.WHOLE


@pytest.mark.sources
def test_a_value_that_a_dictionary_repeats_is_read_few_rows_at_a_time(tmp_path: Path) -> None:
    """It stands once in the file, and in each row of a batch."""
    text = random.Random(0).randbytes(5 * 2**20).hex()
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 200), [text])
    table = pa.table({"id": list(map(str, range(200))), "text": texts})
    (tmp_path / "a.parquet").write_bytes(parquet(table, compression="zstd", store_schema=False))
    rows = RowBatches(tmp_path / "a.parquet", ["id", "text"], 2**26, id_column="id")
    _, batch = next(rows.from_group(0))
    assert batch["text"][0].as_py() == text
    assert 1 <= batch.num_rows * len(text) <= BATCH_BYTES


@pytest.mark.sources
def test_the_memory_of_a_process_does_not_grow_with_such_a_cell(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    """A cell of 200 MB in a file of some kilobytes."""
    table = pa.table({"id": ["1"], "text": pa.array([bytes(200 * 2**20)], pa.large_binary())})
    data = parquet(table, compression="zstd")
    assert len(data) < 50_000
    del table
    collection = warehouse.collection(
        source={"kind": "parquet", "uri": "raw.parquet"}, files={"raw.parquet": data}
    )
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from commonspace.pipeline.config.files import load_collection\n"
        "from commonspace.pipeline.source.open import open_source\n"
        "from commonspace.pipeline.source.records import EVERYTHING\n"
        "source = open_source(load_collection(Path(sys.argv[1])))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "row, extent = source.scan(EVERYTHING)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(row.failure.reason, after - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(collection.path)],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    reason, grown = done.stdout.split()
    assert reason == "too_large"
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(grown) * unit < 64 * 2**20


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"data_page_size": 100},
        {"write_page_checksum": True, "write_statistics": True},
    ],
)  # fmt: skip
def test_headers_lead_from_page_to_page_to_the_end(
    compression: str, options: dict[str, Any]
) -> None:
    long = "a value that statistics repeat in the header " * 200
    table = pa.table(
        {
            "text": [f"{long}{n}" for n in range(3000)], "n": list(range(3000)),
            "list": [[n, None] for n in range(3000)], "null": pa.nulls(3000, pa.string()),
        }
    )  # fmt: skip
    data = parquet(table, compression=compression, row_group_size=1000, **options)
    metadata = pq.read_metadata(io.BytesIO(data))
    groups = read_row_groups(io.BytesIO(data), range(metadata.num_columns))
    assert [group.rows for group in groups] == [1000, 1000, 1000]
    for group, found in enumerate(groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            start = min(filter(None, [chunk.data_page_offset, chunk.dictionary_page_offset]))
            assert found.chunks[number] == Chunk(start, start + chunk.total_compressed_size)
            pages = list(column_pages(io.BytesIO(data), start, start + chunk.total_compressed_size))
            headers = chunk.total_compressed_size - sum(page.compressed for page in pages)
            assert pages
            assert sum(page.uncompressed for page in pages) + headers == (
                chunk.total_uncompressed_size
            )


@given(st.binary(max_size=300))
def test_bytes_that_are_no_header_end_the_walk(data: bytes) -> None:
    for page in column_pages(io.BytesIO(data), 0, len(data)):
        assert page.compressed >= 0
