"""The plan stage: what the run will do to a space, decided before anything is encoded."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.errors import NothingOffered
from commonspace.pipeline.plan.golden_check import check_golden
from commonspace.pipeline.plan.known_rejects import known_rejects
from commonspace.pipeline.plan.offer.offer import Offer, read_offer, write_offer_rejects
from commonspace.pipeline.plan.plan import ACTIONS, Plan, PlanInputs, PlanOptions, make_plan
from commonspace.pipeline.plan.plan_file import write_plan
from commonspace.pipeline.plan.vector_sources import FoundVectors, ReuseNote, find_vectors
from commonspace.pipeline.release.contract_check import require_same_contract
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.markers.retirement import require_not_retired
from commonspace.pipeline.release.parts import published_rows
from commonspace.pipeline.release.pointer import load_current, require_pointer
from commonspace.pipeline.release.rejects import describe_rejects
from commonspace.pipeline.source.notices import NoticeCount, NoticeKind
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Work, timer

_FILES_OF_ENCODE = ("shards/", "unchecked-", "encode-", "copied-", "canary-", "spot-")
"""Files of a run's work: what it has encoded, and how the checks of that ended."""


def plan_stage(work: Work, *, again: bool = False) -> PlanSummary:
    """Decide what the space is missing.

    Args:
        work: its run has pulled.
        again: in the middle of a run, whose finished shards and their notes then stay.

    Raises:
        ContractBroken: the space's spec has changed, or the type of a metadata column.
        NothingOffered: the source offers the space nothing, and nothing is published yet.
        UserMistake: the space is retired, or a golden query cannot be met.
    """
    _remove_earlier_try(work, keep_encoded=again)
    require_not_retired(work.run.store, work.name)
    with timer() as seconds:
        base = _base_release(work)
        require_same_contract(work.run.store, work.name, work.contract, base)
        published = published_rows(work.run.store, base, work.contract)
        offer = read_offer(work, base, published)
        plan, found = _plan(work, base, offer, published)
    if base is None and not plan.table.num_rows:
        raise _nothing_offered(work, offer)
    check_golden(work, offer.items, published)
    write_plan(work, plan)
    write_offer_rejects(work, offer.rejects)
    work.write_note(_reuse_note(plan, found))
    notices = (
        *work.run.read_note().notices,
        *_recipe_notices(work, plan, offer, published),
        *offer.notices,
        *found.notices.counts(),
    )
    summary = _summary(work, base, offer, plan, notices, seconds())
    work.write_note(summary)
    return summary


def is_stale(work: Work) -> bool:
    """Whether another release has been promoted since the plan was made."""
    pointer = load_current(work.run.store, work.name)
    return (pointer.release if pointer else 0) != work.read_note(PlanSummary).base


def tells_recipe(plan: Plan, published: pa.Table) -> bool:
    """Whether a plan covers what is published, and some of that has a content that is offered.

    Where none has, the columns that the run is fed with are not those of the published rows.
    """
    offered = plan.table["digest"].combine_chunks()
    same = pc.is_in(published["content_digest"], value_set=offered)
    has_some = not published.num_rows or bool(pc.any(same, min_count=0).as_py())
    return has_some and plan.covers(published)


def _remove_earlier_try(work: Work, *, keep_encoded: bool) -> None:
    """Delete what an earlier try of the same run has left."""
    store = work.run.store
    stays = tuple(map(work.path, _FILES_OF_ENCODE)) if keep_encoded else ()
    for key in store.list(work.path("")):
        if not key.startswith(stays):
            store.delete(key)


def _base_release(work: Work) -> Release | None:
    """The release that is served now."""
    store = work.run.store
    require_pointer(store, work.name)
    pointer = load_current(store, work.name)
    return load_release(store, work.name, pointer.release) if pointer else None


def _plan(
    work: Work, base: Release | None, offer: Offer, published: pa.Table
) -> tuple[Plan, FoundVectors]:
    """The plan; other releases are looked at only where something is left to encode."""
    run = work.run
    inputs = PlanInputs(
        items=offer.items,
        published=published,
        known_rejects=known_rejects(
            run.store,
            base,
            run.collection.limits.max_image_seconds,
            retry=run.retry_rejects or run.force,
        ),
        unavailable=offer.unavailable,
        unreadable=offer.unreadable,
    )
    options = PlanOptions(
        scope=run.scope,
        shard_rows=run.collection.run.shard_rows,
        force=run.force,
        shard_salt=run.shard_salt,
    )
    plan = make_plan(inputs, options)
    if run.force or not plan.count("encode"):
        return plan, FoundVectors()
    wanted = plan.rows("encode")["digest"].combine_chunks()
    found = find_vectors(run.store, work.name, work.contract, base, wanted)
    if found.contents.num_rows:
        plan = make_plan(replace(inputs, elsewhere=found.contents), options)
    return plan, found


def _reuse_note(plan: Plan, found: FoundVectors) -> ReuseNote:
    """Where the vectors of each shard lie that is to be copied."""
    copied = plan.rows("reuse").select(["digest", "shard"])
    copied = copied.filter(pc.is_valid(copied["shard"]))
    row = pc.index_in(copied["digest"], value_set=found.contents["digest"].combine_chunks())
    source = found.contents["source"].take(row).to_pylist()
    shards = dict(zip(copied["shard"].to_pylist(), source, strict=True))
    return ReuseNote(sources={shard: found.sources[number] for shard, number in shards.items()})


def _nothing_offered(work: Work, offer: Offer) -> NothingOffered:
    hint = "Check the source's `uri` and the space's `fields` or `image`."
    return NothingOffered(
        f"the source offers no items for space {work.space.name!r} "
        f"({offer.rejects.num_rows} rejected, {offer.absent} without content)",
        item=work.run.collection.source_uri,
        do="\n  ".join([*describe_rejects(offer.rejects.to_pylist()), hint]),
    )


def _recipe_notices(work: Work, plan: Plan, offer: Offer, published: pa.Table) -> list[NoticeCount]:
    """What is said where the space was published before content recipes were recorded."""
    stored = load_contract(work.run.store, work.name)
    if stored is None or stored.recipe is not None:
        return []
    if work.run.scope != EVERYTHING or not plan.covers(published):
        about = (
            "which columns were embedded is not recorded yet; a run of everything records it, "
            "where no row stays unread"
        )
        return [NoticeCount(NoticeKind.RECIPE_UNKNOWN, about, 1)]
    if not tells_recipe(plan, published):
        about = (
            f"none of {published.num_rows:,} published rows is made of {work.contract.recipe}, as "
            "the collection file says, so nothing is recorded: check the file; where it is right, "
            "the next run of everything records it"
        )
        return [NoticeCount(NoticeKind.RECIPE_UNKNOWN, about, 1)]
    same = pc.is_in(published["content_digest"], value_set=offer.items["digest"].combine_chunks())
    about = (
        f"{work.contract.recipe}, as the collection file says; {pc.sum(same).as_py() or 0:,} of "
        f"{published.num_rows:,} published rows have such content; it binds once readers see the "
        "release, if no row stays unread"
    )
    return [NoticeCount(NoticeKind.RECIPE_RECORDED, about, 1)]


def _summary(
    work: Work,
    base: Release | None,
    offer: Offer,
    plan: Plan,
    notices: tuple[NoticeCount, ...],
    seconds: float,
) -> PlanSummary:
    rejected = offer.rejects.num_rows
    return PlanSummary(
        base=base.number if base else 0,
        fingerprint=work.spec.fingerprint,
        offered=offer.items.num_rows + rejected,
        absent=offer.absent,
        shards=tuple(plan.shards),
        rejected_by_pull=rejected,
        **{action: plan.count(action) for action in ACTIONS},
        estimated_seconds=_estimate(plan.count("encode"), base),
        seconds=seconds,
        notices=notices,
        staying=len(offer.staying),
        unterminated=offer.unterminated,
    )


def _estimate(items: int, base: Release | None) -> float | None:
    """Seconds of encoding, by the pace of the release before; None where it is not known."""
    pace = base.items_per_second if base else None
    return 0.0 if not items else items / pace if pace else None
