"""The Parquet parts of a release: read with every check, whole or a row group at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import pyarrow as pa

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.parquet import count_rows, read_row_groups, read_table
from commonspace.pipeline.contract.stored_columns import check_schema, in_columns_of
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.release.manifest import RESTORE_HINT, Part, Release
from commonspace.pipeline.storage.store import Store

COMPARED_COLUMNS = ["id", "content_digest", "row_digest", "run", "encoded_at"]
"""The few columns by which rows are compared: one of them differs whenever a row differs."""


def bucket_of(item: str, bits: int) -> str:
    """The bucket of an id: the first `bits` bits of its sha256, written in binary; at most 32."""
    head = int.from_bytes(hashlib.sha256(item.encode()).digest()[:4], "big")
    return f"{head:032b}"[:bits]


def read_part(
    store: Store,
    part: Part,
    contract: Contract,
    columns: Sequence[str] | None = None,
    *,
    verify_sha256: bool = False,
) -> pa.Table:
    """The rows of a part; its size, number of rows, contract and page checksums are checked.

    Args:
        store: where the part lies.
        part: as the manifest lists it.
        contract: the contract that the part must carry, with the columns to be read; those that
            the part lacks are null.
        columns: only these; the contract is then not compared.
        verify_sha256: whether the checksum of the whole file is checked, too.

    Raises:
        ContractBroken: the part is missing, damaged, or not the one that was published.
    """
    data = _part_bytes(store, part)
    if verify_sha256 and hashlib.sha256(data).hexdigest() != part.sha256:
        raise ContractBroken("is not the file that was published", item=part.key, do=RESTORE_HINT)
    table = read_table(data, part.key, columns, contract.optional_columns)
    _check_rows(table.num_rows, part)
    return _in_contract_columns(table, part, contract, columns)


def read_part_as_written(store: Store, part: Part, contract: Contract) -> pa.Table:
    """As `read_part`, with the metadata columns that the part has; `in_columns_of` fits them."""
    table = read_table(_part_bytes(store, part), part.key)
    _check_rows(table.num_rows, part)
    check_schema(table.schema, contract, part.key)
    return table


def read_part_groups(
    store: Store,
    part: Part,
    contract: Contract,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
) -> Iterator[pa.Table]:
    """As `read_part`, but a row group at a time; with `ids`, only the rows that have them."""
    data = _part_bytes(store, part)
    _check_rows(count_rows(data, part.key), part)
    for group in read_row_groups(data, part.key, columns, ids, contract.optional_columns):
        yield _in_contract_columns(group, part, contract, columns)


def _part_bytes(store: Store, part: Part) -> pa.Buffer:
    data = store.read(part.key)
    if data is None:
        raise ContractBroken("is missing", item=part.key, do=RESTORE_HINT)
    if len(data) != part.bytes:
        raise ContractBroken("is not the file that was published", item=part.key, do=RESTORE_HINT)
    return data


def _in_contract_columns(
    table: pa.Table, part: Part, contract: Contract, columns: Sequence[str] | None
) -> pa.Table:
    if columns is None:
        check_schema(table.schema, contract, part.key)
    return in_columns_of(contract, table, columns)


def _check_rows(rows: int, part: Part) -> None:
    if rows != part.rows:
        raise ContractBroken(f"holds {rows} rows, the manifest says {part.rows}", item=part.key)


def read_parts(
    store: Store, release: Release, contract: Contract, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a release, a part at a time.

    Raises:
        ContractBroken: a part is missing or damaged.
    """
    for part in release.parts:
        yield read_part(store, part, contract, columns)


def concat_or_empty(tables: Iterator[pa.Table], schema: pa.Schema) -> pa.Table:
    """All the tables as one; an empty one of the given schema where there is none."""
    parts = list(tables)
    return pa.concat_tables(parts) if parts else schema.empty_table()


def published_details(
    store: Store, base: Release | None, contract: Contract, columns: Sequence[str], ids: pa.Array
) -> pa.Table:
    """`id` and other columns of those published rows that have one of the ids.

    Raises:
        ContractBroken: a part is missing or damaged.
    """
    columns = ["id", *columns]
    schema = pa.schema([contract.schema.field(name) for name in columns])
    parts = base.parts if base and len(ids) else ()
    groups = (read_part_groups(store, part, contract, columns, ids) for part in parts)
    rows = (table.select(columns).cast(schema) for group in groups for table in group)
    return concat_or_empty(rows, schema)


def published_rows(store: Store, base: Release | None, contract: Contract) -> pa.Table:
    """What a plan needs of the rows of a release, part by part; no rows where there is none.

    The columns are `id`, `content_digest`, `row_digest`, `partition` and, where rows are passages,
    `item`.

    Raises:
        ContractBroken: a part is missing or damaged.
    """
    columns = ["id", "content_digest", "row_digest", "partition"]
    columns += [contract.item_column] if contract.item_column != "id" else []
    schema = pa.schema([contract.schema.field(name) for name in columns])
    rows = read_parts(store, base, contract, columns) if base else iter(())
    return concat_or_empty((table.select(columns).cast(schema) for table in rows), schema)
