"""Which items a release could not embed: known ones, carried ones and new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.sections import SpaceSection, space_key
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.pull.items import read_offered_items, read_pull_rejects
from commonspace.pipeline.pull.passages import has_passages, item_of_passage
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.rejects import read_rejects, reject_row
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work


def known_rejects(store: Store, base: Release | None, *, retry: bool) -> pa.Table:
    """`id` and `content_digest` of failures that another attempt cannot help."""
    rejects = read_rejects(store, base)
    permanent = pc.and_(pc.invert(rejects["retryable"]), pc.equal(rejects["stage"], "encode"))
    known = pc.and_(permanent, pc.and_(pc.is_valid(rejects["content_digest"]), not retry))
    return rejects.filter(known).select(["id", "content_digest"])


def spared(pull_rejects: pa.Table) -> pa.Array:
    """Ids whose content could not be had for a passing reason: their old rows stay."""
    return pull_rejects.filter(pull_rejects["retryable"])["id"].combine_chunks().drop_null()


def lost_for_good(pull_rejects: pa.Table) -> pa.Array:
    """Ids of items that could not be read and will not be: their old rows go.

    A later record of an id that is already used says nothing about the first.
    """
    told_apart = pc.not_equal(pull_rejects["reason"], str(Reason.DUPLICATE_ID))
    lasting = pc.and_(pc.invert(pull_rejects["retryable"]), told_apart)
    return pull_rejects.filter(lasting)["id"].combine_chunks().drop_null()


def carried_rejects(work: Work) -> int:
    """How many rejects of the base release the scope does not touch."""
    rows = read_rejects(work.run.store, work.base).to_pylist()
    return sum(not _inside(row, work) for row in rows)


def rejected_item(row: Mapping[str, Any], space: SpaceSection) -> str | None:
    """The item that a reject is or is a passage of: only `encode` knows an item by its passages."""
    passage = has_passages(space) and row["stage"] == "encode"
    return item_of_passage(row["id"]) if passage else row["id"]


def release_reject_rows(
    work: Work, plan: Plan, failures: Mapping[str, Failure], old: pa.Table
) -> list[dict[str, Any]]:
    """Every reject of the next release: carried, known, pulled and newly failed ones."""
    before = old.to_pylist()
    known = {(r["id"], r["digest"]) for r in plan.of("reject").select(["id", "digest"]).to_pylist()}
    beside = read_offered_items(work, ["partition", "source_uri"])[0]
    there = set(beside[work.contract.item_column].to_pylist())
    rows = [
        row
        for row in before
        if (not _inside(row, work) and rejected_item(row, work.space) not in there)
        or (row["id"], row["content_digest"]) in known
    ]
    rows += read_pull_rejects(work).to_pylist()
    planned = plan.of("encode", "reuse").select(["id", "digest"]).to_pylist()
    digests = {row["id"]: row["digest"] for row in planned if row["id"] in failures}
    beside = beside.select(["id", "partition", "source_uri"])
    for row in beside.filter(pc.is_in(beside["id"], pa.array(digests, pa.string()))).to_pylist():
        rows.append(
            reject_row(
                failures[row["id"]], stage="encode", run=work.run.id,
                content_digest=digests[row["id"]], space=space_key(work.space), **row,
            )
        )  # fmt: skip
    return rows


def _inside(row: Mapping[str, Any], work: Work) -> bool:
    scope = work.run.scope
    if scope.ids is not None:
        return rejected_item(row, work.space) in scope.ids
    return scope.partition is None or row["partition"] == scope.partition
