"""Restore: a damaged part of the served release, written again from its rows in LanceDB.

A part's name is the checksum of its bytes, and equal rows give equal bytes: what is written is
the file that was published, or nothing is. (Another version of the Parquet writer may give other
bytes; then only a copy of the file helps.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.columns import provenance_fields
from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.contract.stored_columns import in_columns_of
from commonspace.pipeline.index.connection import translating_store_errors
from commonspace.pipeline.maintenance.served_space import ServedSpace
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.release.history import load_readable_manifests
from commonspace.pipeline.release.manifest import Part
from commonspace.pipeline.release.parts import bucket_of, read_part

_READ_ERRORS = (CommonspaceError, OSError, ValueError, RuntimeError, pa.ArrowException)
"""What reading a damaged table may raise."""


def restore_parts(space: ServedSpace) -> list[str]:
    """Write every part again that is missing or damaged, and whose rows LanceDB still has.

    Returns:
        the keys of the parts that were written.
    """
    damaged = [part for part in space.release.parts if not _is_whole(space, part)]
    if not damaged:
        return []
    rows = LanceRows(space.store.address, space.contract, space.pointer)
    contracts = _contracts_of_parts(space)
    partitions = _partition_of_ids(rows, space.contract)
    if partitions is None:
        return []
    restored = []
    for part in damaged:
        if data := _bytes_from_table(rows, partitions, part, contracts):
            space.store.put(part.key, data)
            restored.append(part.key)
    return restored


def _is_whole(space: ServedSpace, part: Part) -> bool:
    try:
        table = read_part(space.store, part, space.contract, verify_sha256=True)
    except CommonspaceError:
        return False
    return bool(table.num_rows == part.rows)


def _partition_of_ids(rows: LanceRows, contract: Contract) -> pa.Table | None:
    """`id` and `partition` of every row that LanceDB holds, or None where it cannot be read."""
    try:
        with translating_store_errors(contract.space):
            table = rows.table
            limit = max(table.count_rows(), 1)
            return table.search().select(["id", "partition"]).limit(limit).to_arrow()
    except _READ_ERRORS:
        return None


def _contracts_of_parts(space: ServedSpace) -> list[Contract]:
    """Those that a part of the release may have been written under, the likeliest first.

    A part has the columns of the release that it was written for, which may be an earlier one.
    """
    stored = load_contract(space.store, space.name) or space.contract
    manifests, _ = load_readable_manifests(space.store, space.name)
    earlier = [manifests[number].contract(stored) for number in sorted(manifests, reverse=True)]
    by_columns = {str(each.metadata): each for each in [stored, *reversed(earlier)]}
    others = [each for each in by_columns.values() if each != space.contract]
    return [space.contract, *others]


def _bytes_from_table(
    rows: LanceRows, partitions: pa.Table, part: Part, contracts: Sequence[Contract]
) -> pa.Buffer | None:
    """The part's file as it was published, or None where LanceDB does not give it back."""
    try:
        with translating_store_errors(contracts[0].space):
            table = rows.by_ids(_ids_of_part(partitions, part))
            for contract in contracts:
                for schema in _schemas(contract, table):
                    fitted = in_columns_of(contract, table, schema.names).cast(schema)
                    data = parquet_bytes(fitted.sort_by("id"))
                    if hashlib.sha256(data).hexdigest() == part.sha256:
                        return data
    except _READ_ERRORS:
        return None
    return None


def _schemas(contract: Contract, table: pa.Table) -> Iterator[pa.Schema]:
    """That of the contract, and what it was before it had a column of provenance."""
    schema = contract.schema
    yield schema
    for field in provenance_fields(contract.spec):
        if field.name not in table.column_names or table[field.name].null_count == len(table):
            schema = schema.remove(schema.get_field_index(field.name))
    if schema != contract.schema:
        yield schema


def _ids_of_part(partitions: pa.Table, part: Part) -> list[str]:
    within = pc.is_null(partitions["partition"])
    if part.partition is not None:
        within = pc.fill_null(pc.equal(partitions["partition"], part.partition), False)
    ids = partitions.filter(within)["id"].to_pylist()
    return [item for item in ids if bucket_of(item, len(part.bucket)) == part.bucket]
