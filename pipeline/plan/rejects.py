"""Rejects, before and after a run: the items that a release could not embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Failure, Reason, too_slow
from commonspace.pipeline.config.sections import SpaceSection, space_key
from commonspace.pipeline.plan.passing import GONE, has_reason
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.pull.items import (
    read_item_locations,
    read_offered_items,
)
from commonspace.pipeline.pull.passages import has_passages, item_of_passage
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.rejects import read_rejects, reject_row
from commonspace.pipeline.source.records import place_of
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work


def known_rejects(
    store: Store, base: Release | None, image_seconds: float, *, retry: bool
) -> pa.Table:
    """`id` and `content_digest` of failures that another attempt cannot help.

    Args:
        store: the warehouse.
        base: the release whose rejects are read.
        image_seconds: how long an image may be decoded now: what another limit refused is no known
            failure.
        retry: whether the run tries rejects again, so that none is known.
    """
    rejects = read_rejects(store, base)
    rejects = rejects.slice(0, 0) if retry else permanent_rejects(rejects, image_seconds)
    return rejects.select(["id", "content_digest"])


def permanent_rejects(rejects: pa.Table, image_seconds: float) -> pa.Table:
    """Those that the encoder would refuse again; see `known_rejects`."""
    permanent = pc.and_(pc.invert(rejects["retryable"]), pc.equal(rejects["stage"], "encode"))
    late = pc.equal(rejects["reason"], str(Reason.IMAGE_TOO_COSTLY))
    same_limit = pc.equal(rejects["message"], too_slow(image_seconds).message)
    permanent = pc.and_(permanent, pc.or_(pc.invert(late), same_limit))
    return rejects.filter(pc.and_(permanent, pc.is_valid(rejects["content_digest"])))


def unavailable_ids(pull_rejects: pa.Table, *, delete_missing: bool) -> pa.Array:
    """Ids whose content could not be loaded for a passing reason: their published rows stay.

    Args:
        pull_rejects: REJECTS_SCHEMA rows.
        delete_missing: whether the run lets the rows go whose content is gone.
    """
    passing = pull_rejects["retryable"]
    if delete_missing:
        passing = pc.and_not(passing, has_reason(pull_rejects, GONE))
    return pull_rejects.filter(passing)["id"].combine_chunks().drop_null()


def unreadable_ids(pull_rejects: pa.Table, *, delete_missing: bool) -> pa.Array:
    """Ids of items that could not be read, and are not unavailable: their published rows go.

    A later record of an id that is already used says nothing about the first.
    """
    is_first = pc.not_equal(pull_rejects["reason"], str(Reason.DUPLICATE_ID))
    ids = pull_rejects.filter(is_first)["id"].combine_chunks().drop_null()
    unavailable = unavailable_ids(pull_rejects, delete_missing=delete_missing)
    return ids.filter(pc.invert(pc.is_in(ids, value_set=unavailable)))


def carried_rejects(work: Work) -> int:
    """How many rejects of the base release the run's scope does not touch."""
    rows = read_rejects(work.run.store, work.base).to_pylist()
    return sum(not _in_scope(row, work) for row in rows)


def rejected_item(row: Mapping[str, Any], space: SpaceSection) -> str | None:
    """The item that a reject is or is a passage of: only `encode` knows an item by its passages."""
    is_passage = has_passages(space) and row["stage"] == "encode"
    return item_of_passage(row["id"]) if is_passage else row["id"]


def reject_places(work: Work, ids: Sequence[str]) -> dict[str, str | None]:
    """Where in its file each of these planned items stands now, as `place_of` says it."""
    if not ids:
        return {}
    rows = read_item_locations(work, pa.array(ids, pa.string()), ["locator"])
    locators = rows["locator"].to_pylist()
    return {item: place_of(at) for item, at in zip(rows["id"].to_pylist(), locators, strict=True)}


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
        if (not _in_scope(row, work) and not _is_settled(row, work, offered))
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


def _in_scope(row: Mapping[str, Any], work: Work) -> bool:
    scope = work.run.scope
    if scope.ids is not None:
        return rejected_item(row, work.space) in scope.ids
    return scope.partition is None or row["partition"] == scope.partition
