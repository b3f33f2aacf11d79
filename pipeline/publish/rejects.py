"""The file of a release's rejects."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.layout import rejects_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.release.markers.removal import key_not_in_removal, load_pending_removal
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA
from commonspace.pipeline.storage.store import Store

IDENTITY = (
    "id", "source_uri", "stage", "reason", "content_digest", "partition", "message", "retryable",
    "space",
)  # fmt: skip
"""The columns of a reject that say what it is: not the run that found it, nor its place, which
moves with every record above it."""


def write_rejects(
    store: Store,
    name: SpaceName,
    rows: Sequence[dict[str, Any]],
    old: pa.Table,
    *,
    is_changed: bool,
) -> dict[str, Any] | None:
    """Write the release's rejects as one file; equal rejects give the same file in every run.

    Args:
        store: the warehouse.
        name: the space.
        rows: of REJECTS_SCHEMA: all rejects of the release.
        old: those of the release before; a reject that it has already keeps its run. Where nothing
            but places changed, all rows stay; in any other release each has its place of now. So
            it does once where the old ones were written before rejects had places.
        is_changed: whether the parts differ from those of the release before.

    Returns:
        the entry in the manifest; None where nothing is rejected.
    """
    if not rows:
        return None
    stable = _stable_rows(rows, old.to_pylist(), is_changed=is_changed)
    table = pa.Table.from_pylist(stable, REJECTS_SCHEMA)
    if _without_place(stable) == len(stable):  # as commits wrote it before there were places
        table = table.drop_columns(["place"])
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


def _stable_rows(
    rows: Sequence[dict[str, Any]], old: Sequence[dict[str, Any]], *, is_changed: bool
) -> list[dict[str, Any]]:
    """The old rows where nothing but places changed, else the new ones; in a stable order."""
    same = Counter(map(_identity, rows)) == Counter(map(_identity, old))
    gains_places = _without_place(old) > _without_place(rows)
    if same and not is_changed and not gains_places:
        stable = list(old)
    else:
        found_by = {_identity(row): row["run"] for row in old}
        stable = [{**row, "run": found_by.get(_identity(row), row["run"])} for row in rows]
    return sorted(stable, key=lambda row: tuple(map(str, (*_identity(row), row["place"]))))


def _without_place(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["place"] is None for row in rows)


def _identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[column] for column in IDENTITY)
