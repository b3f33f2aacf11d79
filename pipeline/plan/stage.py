"""pipeline/plan/stage.py"""

from __future__ import annotations

from typing import Any

from commonspace.pipeline.contract.contract import require_same_contract
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.errors import NothingOffered
from commonspace.pipeline.plan.golden import check_golden
from commonspace.pipeline.plan.plan import make_plan
from commonspace.pipeline.plan.rejects import known_rejects, lost_for_good, spared
from commonspace.pipeline.pull.items import read_offered_items, read_pull_rejects
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.parts import published_rows
from commonspace.pipeline.release.pointer import load_current, require_pointer
from commonspace.pipeline.release.rejects import describe_rejects
from commonspace.pipeline.release.retirement import require_not_retired
from commonspace.pipeline.workspace.work import Work, timer

_ENCODED = ("shards/", "unchecked-", "encode-", "canary-", "spot-")
"""Files of a work: what it has encoded, what of that waits to be compared, what is known of it."""


def plan_stage(work: Work, *, again: bool = False) -> dict[str, Any]:
    """Decide what the space is missing. Raises ContractBroken where its spec has changed.

    again: in the middle of a run, whose finished shards then stay, with what may pass in them.
    """
    run, store = work.run, work.run.store
    stays = tuple(map(work.path, _ENCODED)) if again else ()
    for stale in store.list(work.path("")):  # of an earlier try of the same run
        if not stale.startswith(stays):
            store.delete(stale)
    require_not_retired(store, work.name)
    require_same_contract(store, work.name, work.contract)
    with timer() as seconds:
        require_pointer(store, work.name)
        pointer = load_current(store, work.name)
        base = load_release(store, work.name, pointer.release) if pointer else None
        published = published_rows(store, base, work.contract)
        items, absent = read_offered_items(work, ["row_digest"])
        plan = make_plan(
            items,
            published,
            known_rejects(store, base, retry=run.retry_rejects or run.force),
            spared=spared(read_pull_rejects(work)),
            lost=lost_for_good(read_pull_rejects(work)),
            scope=run.scope,
            shard_rows=run.collection.run.shard_rows,
            force=run.force,
            apart=run.apart,
        )
    rejected = read_pull_rejects(work).num_rows
    if base is None and not plan.table.num_rows:
        said = describe_rejects(read_pull_rejects(work).to_pylist())
        raise NothingOffered(
            f"the source offers no items for space {work.space.name!r} "
            f"({rejected} rejected, {absent} without content)",
            item=run.collection.source_uri,
            do="\n  ".join(
                [*said, "Check the source's `uri` and the space's `fields` or `image`."]
            ),
        )
    check_golden(work, items, published)
    store.put(work.path("plan.parquet"), parquet_bytes(plan.table))
    result = {
        "base": base.number if base else 0,
        "fingerprint": work.spec.fingerprint,
        "offered": items.num_rows + rejected,
        "absent": absent,
        "shards": plan.shards,
        "rejected_by_pull": rejected,
        **{a: plan.count(a) for a in ("encode", "reuse", "keep", "reject", "delete")},
        "estimated_seconds": _estimate(plan.count("encode"), base),
        "seconds": seconds(),
    }
    work.write_note("plan.json", result)
    return result


def _estimate(items: int, base: Release | None) -> float | None:
    """Seconds of encoding, by the pace of the release before; None where it is not known."""
    rate = base.items_per_second if base else None
    return 0.0 if not items else items / rate if rate else None


def is_stale(work: Work) -> bool:
    """Whether another release has been promoted since the plan was made."""
    pointer = load_current(work.run.store, work.name)
    return bool((pointer.release if pointer else 0) != work.read_note("plan.json")["base"])
