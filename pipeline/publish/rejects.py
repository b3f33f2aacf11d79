"""The rejects of the next release, and their file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.contract.layout import rejects_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.pull.items import read_offered_items
from commonspace.pipeline.pull.rejects import is_in_scope, reject_places, rejected_item
from commonspace.pipeline.release.markers.removal import key_not_in_removal, load_pending_removal
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA, reject_row
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work

IDENTITY = (
    "id", "source_uri", "stage", "reason", "content_digest", "partition", "message", "retryable",
    "space",
)  # fmt: skip
"""The columns of a reject that say what it is: not the run that found it, nor its place, which
moves with every record above it."""


def release_reject_rows(
    work: Work,
    plan: Plan,
    failures: Mapping[str, Failure],
    *,
    before_encoding: pa.Table,
    base_rejects: pa.Table,
) -> list[dict[str, Any]]:
    """Every reject of the next release: carried, known, pulled and newly failed ones.

    Args:
        work: the run's work on the space.
        plan: its plan.
        failures: by id, why the encoder gave no vector.
        before_encoding: REJECTS_SCHEMA rows: those that the plan knew of.
        base_rejects: REJECTS_SCHEMA rows: the rejects of the release before.
    """
    items, _ = read_offered_items(work, ["partition", "source_uri"])
    return [
        *_kept_rejects(work, plan, items, base_rejects),
        *before_encoding.to_pylist(),
        *_new_rejects(work, plan, items, failures),
    ]


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


def _kept_rejects(
    work: Work, plan: Plan, items: pa.Table, base_rejects: pa.Table
) -> list[dict[str, Any]]:
    """Rejects of the release before that are out of the run's scope, or that would fail again."""
    rejected = plan.rows("reject").select(["id", "digest"]).to_pylist()
    known = {(row["id"], row["digest"]) for row in rejected}
    planned = plan.rows("encode", "reuse", "keep", "reject")["id"].combine_chunks()
    taken = items.filter(pc.is_in(items["id"], value_set=planned))
    offered = set(taken[work.contract.item_column].to_pylist())
    places = reject_places(work, [row["id"] for row in rejected])
    return [
        {**row, "place": places.get(row["id"], row["place"])}
        for row in base_rejects.to_pylist()
        if (not is_in_scope(row, work) and not _is_settled(row, work, offered))
        or (row["id"], row["content_digest"]) in known
    ]


def _is_settled(row: Mapping[str, Any], work: Work, taken: Set[str | None]) -> bool:
    """Whether a reject of elsewhere says nothing any more, as its item was taken from here.

    A record that cannot be read has no rank beside the others of its id: it is a reject as long as
    it stands in its own partition.
    """
    return row["stage"] == "encode" and rejected_item(row, work.space) in taken


def _new_rejects(
    work: Work, plan: Plan, items: pa.Table, failures: Mapping[str, Failure]
) -> list[dict[str, Any]]:
    """A reject for each item whose encoding failed in this run."""
    planned = plan.rows("encode", "reuse").select(["id", "digest"]).to_pylist()
    digests = {row["id"]: row["digest"] for row in planned if row["id"] in failures}
    failed = items.filter(pc.is_in(items["id"], pa.array(digests, pa.string())))
    places = reject_places(work, list(digests))
    return [
        reject_row(
            failures[row["id"]],
            stage="encode",
            run=work.run.id,
            content_digest=digests[row["id"]],
            space=space_key(work.space),
            place=places[row["id"]],
            **row,
        )
        for row in failed.select(["id", "partition", "source_uri"]).to_pylist()
    ]


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
