"""The file of a release's rejects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.layout import rejects_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA
from commonspace.pipeline.release.removal import key_not_in_removal, load_pending_removal
from commonspace.pipeline.storage.store import Store

IDENTITY = (
    "id", "source_uri", "stage", "reason", "content_digest", "partition", "message", "retryable",
    "space",
)  # fmt: skip
"""The columns of a reject that say what it is; the run that found it is not among them."""


def write_rejects(
    store: Store, name: SpaceName, rows: Sequence[dict[str, Any]], old: pa.Table
) -> dict[str, Any] | None:
    """Write the release's rejects as one file; equal rejects give the same file in every run.

    Args:
        store: the warehouse.
        name: the space.
        rows: of REJECTS_SCHEMA: all rejects of the release.
        old: those of the release before; a reject that it has already keeps its row.

    Returns:
        the entry in the manifest; None where nothing is rejected.
    """
    if not rows:
        return None
    old_rows = {_identity(row): row for row in old.to_pylist()}
    stable = [old_rows.get(_identity(row), row) for row in rows]
    stable.sort(key=lambda row: tuple(str(value) for value in _identity(row)))
    table = pa.Table.from_pylist(stable, REJECTS_SCHEMA)
    data = parquet_bytes(table)
    digest = hashlib.sha256(data).hexdigest()
    key = key_not_in_removal(rejects_key(name, digest), load_pending_removal(store, name))
    store.put_if_absent(key, data)
    by_reason = pc.value_counts(table["reason"]).to_pylist()
    return {
        "key": key,
        "sha256": digest,
        "rows": table.num_rows,
        "by_reason": {entry["values"]: entry["counts"] for entry in by_reason},
    }


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column] for column in IDENTITY)
