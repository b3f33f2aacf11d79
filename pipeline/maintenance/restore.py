"""Restore: a damaged part of the served release, written again from its rows in LanceDB.

A part's name is the checksum of its bytes, and equal rows give equal bytes: what is written is
the file that was published, or nothing is. (Another version of the Parquet writer may give other
bytes; then only a copy of the file helps.)
"""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.index.connection import translating_store_errors
from commonspace.pipeline.maintenance.served_space import ServedSpace
from commonspace.pipeline.read.lance_rows import LanceRows
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
    partitions = _partition_of_ids(rows, space.contract)
    if partitions is None:
        return []
    restored = []
    for part in damaged:
        if data := _bytes_from_table(rows, partitions, part, space.contract):
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


def _bytes_from_table(
    rows: LanceRows, partitions: pa.Table, part: Part, contract: Contract
) -> pa.Buffer | None:
    """The part's file as it was published, or None where LanceDB does not give it back."""
    try:
        with translating_store_errors(contract.space):
            table = rows.by_ids(_ids_of_part(partitions, part))
            table = table.select(contract.schema.names).cast(contract.schema).sort_by("id")
            data = parquet_bytes(table)
    except _READ_ERRORS:
        return None
    return data if hashlib.sha256(data).hexdigest() == part.sha256 else None


def _ids_of_part(partitions: pa.Table, part: Part) -> list[str]:
    within = pc.is_null(partitions["partition"])
    if part.partition is not None:
        within = pc.fill_null(pc.equal(partitions["partition"], part.partition), False)
    ids = partitions.filter(within)["id"].to_pylist()
    return [item for item in ids if bucket_of(item, len(part.bucket)) == part.bucket]
