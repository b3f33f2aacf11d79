"""Rejects: the items that a release could not embed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.release.manifest import RESTORE_HINT, Release
from commonspace.pipeline.storage.store import Store

SHOWN_REJECTS = 5
REJECTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("partition", pa.string()),
        pa.field("source_uri", pa.string()),
        pa.field("content_digest", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("retryable", pa.bool_(), nullable=False),
        pa.field("space", pa.string()),
        pa.field("run", pa.string(), nullable=False),
        pa.field("place", pa.string()),
    ]
)
"""`place`: where in the file of `source_uri` the record is, as `place_of` of a source says it; null
of a folder's files, and in what commits from before this column wrote."""


def reject_row(
    failure: Failure, *, stage: str, run: str, **known: str | None
) -> dict[str, str | bool | None]:
    """A row of REJECTS_SCHEMA.

    Args:
        failure: why the item has no vector.
        stage: the stage that met the failure.
        run: the run's id.
        known: what is known of the item: id, partition, source_uri, place, content_digest, space.
    """
    return {
        **dict.fromkeys(REJECTS_SCHEMA.names),
        **known,
        "stage": stage,
        "reason": str(failure.reason),
        "message": failure.message[:500],
        "retryable": failure.retryable,
        "run": run,
    }


def read_rejects(store: Store, release: Release | None) -> pa.Table:
    """The rejects of a release, as rows of REJECTS_SCHEMA; none where there is no release.

    Raises:
        ContractBroken: their file is missing or damaged.
    """
    if release is None or release.rejects is None:
        return REJECTS_SCHEMA.empty_table()
    key = str(release.rejects["key"])
    data = store.read(key)
    if data is None:
        raise ContractBroken("is missing", item=key, do=RESTORE_HINT)
    rejects = read_table(data, key)
    if "place" not in rejects.column_names:
        rejects = rejects.append_column("place", pa.nulls(rejects.num_rows, pa.string()))
    return rejects.cast(REJECTS_SCHEMA)


def describe_rejects(rejects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for people: how many rejects of each reason, then the first few by id."""
    counts = Counter(str(row["reason"]) for row in rejects)
    lines = [", ".join(f"{count} {reason}" for reason, count in counts.items())] if counts else []
    shown = rejects[:SHOWN_REJECTS]
    lines += [f"{_where(row)}: {row['message']} ({row['reason']})" for row in shown]
    if len(rejects) > SHOWN_REJECTS:
        lines.append("…")
    return lines


def _where(row: Mapping[str, Any]) -> str:
    """The item as far as it is known, and where its record stands in its file."""
    item, file, place = row["id"], row.get("source_uri"), row.get("place")
    if place is None:
        return repr(item if item is not None else file)
    known = [repr(name) for name in (item, file) if name is not None]
    return ", ".join([*known, place])
