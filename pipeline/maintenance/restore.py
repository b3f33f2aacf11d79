"""Restore: a damaged part of the served release, written again from its rows in LanceDB.

A part's name is the checksum of its bytes, and equal rows give equal bytes: what is written is
the file that was published, or nothing is. (Another release of the Parquet writer may give other
bytes; then only a copy of the file helps.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.index.connection import translating_store_errors
from commonspace.pipeline.read.lance_rows import LanceRows
from commonspace.pipeline.release.manifest import Part, Release
from commonspace.pipeline.release.parts import bucket_of, read_part
from commonspace.pipeline.release.pointer import Current
from commonspace.pipeline.storage.store import Store

_DAMAGED = (CommonspaceError, OSError, ValueError, RuntimeError, pa.ArrowException)
"""What reading a damaged table ends in."""


def restore_parts(
    store: Store, contract: Contract, release: Release, pointer: Current
) -> list[str]:
    """Write every part again that is missing or damaged and that LanceDB still has; their keys."""
    broken = [part for part in release.parts if not _is_whole(store, part, contract)]
    rows, restored = LanceRows(store.address, contract, pointer), []
    places = _places(rows, contract) if broken else None
    for part in broken if places is not None else ():
        if data := _bytes(rows, places, part, contract):
            store.put(part.key, data)
            restored.append(part.key)
    return restored


def _is_whole(store: Store, part: Part, contract: Contract) -> bool:
    try:
        return bool(read_part(store, part, contract, verify_sha256=True).num_rows == part.rows)
    except CommonspaceError:
        return False


def _places(rows: LanceRows, contract: Contract) -> pa.Table | None:
    """`id` and `partition` of every row that LanceDB holds, or None where it cannot be read."""
    try:
        with translating_store_errors(contract.space):
            table = rows.table
            every = max(table.count_rows(), 1)
            return table.search().select(["id", "partition"]).limit(every).to_arrow()
    except _DAMAGED:
        return None


def _bytes(rows: LanceRows, places: pa.Table, part: Part, contract: Contract) -> pa.Buffer | None:
    """The part's file as it was published, or None where LanceDB does not give it back."""
    try:
        with translating_store_errors(contract.space):
            data = parquet_bytes(_rows(rows, places, part, contract))
    except _DAMAGED:
        return None
    return data if hashlib.sha256(data).hexdigest() == part.sha256 else None


def _rows(rows: LanceRows, places: pa.Table, part: Part, contract: Contract) -> pa.Table:
    """What LanceDB holds of the part's partition and bucket, as it was published."""
    within = pc.is_null(places["partition"])
    if part.partition is not None:
        within = pc.fill_null(pc.equal(places["partition"], part.partition), False)
    ids = _of_bucket(places.filter(within)["id"].to_pylist(), part.bucket)
    return rows.by_ids(ids).select(contract.schema.names).cast(contract.schema).sort_by("id")


def _of_bucket(ids: Sequence[str], bucket: str) -> list[str]:
    return [item for item in ids if bucket_of(item, len(bucket)) == bucket]
