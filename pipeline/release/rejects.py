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
    ]
)


def reject_row(
    failure: Failure, *, stage: str, run: str, **known: str | None
) -> dict[str, str | bool | None]:
    """A row of REJECTS_SCHEMA.

    Args:
        failure: why the item has no vector.
        stage: the stage that met the failure.
        run: the run's id.
        known: what is known of the item: id, partition, source_uri, content_digest, space.
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
    return read_table(data, key).cast(REJECTS_SCHEMA)


def describe_rejects(rejects: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for people: how many rejects of each reason, then the first few by id."""
    counts = Counter(str(row["reason"]) for row in rejects)
    lines = [", ".join(f"{count} {reason}" for reason, count in counts.items())] if counts else []
    for row in rejects[:SHOWN_REJECTS]:
        name = row["id"] if row["id"] is not None else row.get("source_uri")
        lines.append(f"{name!r}: {row['message']} ({row['reason']})")
    if len(rejects) > SHOWN_REJECTS:
        lines.append("…")
    return lines
