"""The Parquet files of a warehouse: deterministic bytes with checksums, read by any engine."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from commonspace.pipeline.errors import ContractBroken

SEAL = b"commonspace seal"
"""Written with the footer's sha256 between the pages and the footer, where no reader of Parquet
looks: pages have checksums of their own, the footer that describes them has none."""
ROW_GROUP_ROWS = 4096
"""Small enough that a look-up by id reads little, large enough to compress
(measured: 4 to 8 thousand is the middle)."""


def parquet_bytes(table: pa.Table) -> pa.Buffer:
    """A table as a Parquet file; equal tables give equal bytes.

    Vectors are byte-stream-split (dense floats compress 17 % better so) and have no dictionaries;
    pages carry checksums, the footer a seal.
    """
    starts = range(0, max(table.num_rows, 1), ROW_GROUP_ROWS)
    return parquet_bytes_of_groups(
        table.schema, (table.slice(row, ROW_GROUP_ROWS) for row in starts)
    )


def parquet_bytes_of_groups(schema: pa.Schema, groups: Iterable[pa.Table]) -> pa.Buffer:
    """As `parquet_bytes`, of a table that comes in groups of rows; each becomes a row group."""
    vectors = [f.name for f in schema if pa.types.is_fixed_size_list(f.type)]
    others = [f.name for f in schema if f.name not in vectors]
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        use_dictionary=others,
        column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in vectors} or None,
        write_page_checksum=True,
        store_schema=True,
    ) as writer:
        for group in groups:
            writer.write_table(group.combine_chunks())
    _seal(sink)
    return pa.py_buffer(sink.getbuffer())


def read_table(
    data: pa.Buffer,
    key: str,
    columns: Sequence[str] | None = None,
    optional: AbstractSet[str] = frozenset(),
) -> pa.Table:
    """The table of a Parquet file, checksums verified.

    Args:
        data: the bytes of the file.
        key: its key, for the message.
        columns: only these, in this order; None for all.
        optional: those of the columns that are left out where the file lacks them.

    Raises:
        ContractBroken: the bytes are damaged, or a column is missing.
    """
    with _translating_damage(key):
        # `pq.read_table` plans a dataset first, which takes twice as long as a small file.
        file = _open(data)
        names = _present(file, columns, optional)
        return file.read(names).select(names)


def read_row_groups(
    data: pa.Buffer,
    key: str,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
    optional: AbstractSet[str] = frozenset(),
) -> Iterator[pa.Table]:
    """As `read_table`, but a row group at a time, on one thread, leaving out empty ones.

    Measured: threads that read along would hold 35 MB among them.

    Args:
        data, key, columns, optional: as `read_table` takes them.
        ids: only rows with these ids; of a row group without any, only the ids are read.

    Raises:
        ContractBroken: the bytes are damaged, or a column is missing.
    """
    with _translating_damage(key):
        file = _open(data)
        names = _present(file, columns, optional)
    for number in range(file.num_row_groups):
        with _translating_damage(key):
            rows = _group(file, number, names, ids)
        if rows.num_rows:
            yield rows


def count_rows(data: pa.Buffer, key: str) -> int:
    """How many rows the file holds by its footer.

    Raises:
        ContractBroken: the footer is damaged.
    """
    with _translating_damage(key):
        return int(_open(data).metadata.num_rows)


def _open(data: pa.Buffer) -> pq.ParquetFile:
    _check_seal(data)
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)


def _present(
    file: pq.ParquetFile, columns: Sequence[str] | None, optional: AbstractSet[str]
) -> list[str]:
    """The names of the columns to read."""
    stored: list[str] = file.schema_arrow.names
    if columns is None:
        return stored
    return [name for name in columns if name in stored or name not in optional]


def _group(file: pq.ParquetFile, number: int, names: list[str], ids: pa.Array | None) -> pa.Table:
    def read(columns: list[str]) -> pa.Table:
        return file.read_row_group(number, columns, use_threads=False).select(columns)

    if ids is None:
        return read(names)
    has_id = pc.is_in(read(["id"])["id"], value_set=ids)
    if not pc.any(has_id).as_py():
        return file.schema_arrow.empty_table()
    return read(names).filter(has_id)


@contextmanager
def _translating_damage(key: str) -> Iterator[None]:
    """Turns Arrow's errors about damaged bytes into ContractBroken."""
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ContractBroken(
            f"is damaged: {error}", item=key, do="Run `commonspace verify` on the space."
        ) from error


def _footer_start(data: pa.Buffer) -> int:
    """Where the footer starts: its length stands before the last four bytes."""
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def _seal(file: io.BytesIO) -> None:
    """Put the seal before the footer, in place."""
    with file.getbuffer() as written:
        start = _footer_start(pa.py_buffer(written))
        footer = bytes(written[start:])
    file.seek(start)
    file.write(SEAL + hashlib.sha256(footer).digest() + footer)


def _check_seal(data: pa.Buffer) -> None:
    start = _footer_start(data)
    seal = data[max(start - len(SEAL) - 32, 0) : max(start, 0)].to_pybytes()
    if start < 0 or seal != SEAL + hashlib.sha256(data[start:]).digest():
        raise ValueError("the checksum of its footer does not match")
