"""Validate: the ledger of a run and its gates, before anything is visible to a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.gates.contents import VectorGate
from commonspace.pipeline.gates.drift import Drift
from commonspace.pipeline.gates.duplicates import DuplicateVectors
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.golden import GoldenRecall
from commonspace.pipeline.gates.ledger import account_gates
from commonspace.pipeline.gates.vectors import UnusableVectors
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.rejects import describe_rejects
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.validate.account import Accounting, FailedContents, count_outcomes
from commonspace.pipeline.validate.next_release import (
    NextRelease,
    next_release_contents,
    next_release_rows,
)
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.shards import read_shard


@dataclass(frozen=True)
class RunCounts:
    """What a run amounts to before its vectors are looked at."""

    account: Accounting
    coming: NextRelease
    rejects: tuple[str, ...]


def count_run(
    plan: Plan,
    offered: int,
    absent: int,
    pull_rejects: pa.Table,
    published: pa.Table,
    shards: Sequence[str],
    contract: Contract,
    store: Store,
) -> RunCounts:
    """Count every item's state.

    offered: what the source offered this space, counted by `pull`, rejects included.
    pull_rejects: REJECTS_SCHEMA rows: the records that `pull` rejected for this space.
    published: `id`, `content_digest` of the release that the plan was made from, part by part.
    """
    rejects = pull_rejects.to_pylist()
    every, lasting = [pa.nulls(0, pa.string())], [pa.nulls(0, pa.string())]
    for key in shards:
        broken = read_shard(store, key, contract.spec, _FAILURES)
        broken = broken.filter(pc.is_valid(broken["reason"]))
        rejects += broken.select(["id", "reason", "message"]).to_pylist()
        every.append(broken["content_digest"].combine_chunks())
        for_good = broken.filter(pc.invert(broken["retryable"]))
        lasting.append(for_good["content_digest"].combine_chunks())
    failed = FailedContents(pa.concat_arrays(every), pa.concat_arrays(lasting))
    account = count_outcomes(
        plan,
        failed,
        offered=offered,
        absent=absent,
        pull_rejects=pull_rejects.num_rows,
        published_ids=published["id"].combine_chunks(),
    )
    coming = next_release_rows(plan, published, failed.every, account.gone)
    return RunCounts(account, coming, tuple(describe_rejects(rejects)))


def validate(
    found: RunCounts,
    base: Release | None,
    shards: Sequence[str],
    contract: Contract,
    limits: GatesSection,
    store: Store,
    *,
    published_in_scope: int,
    untouched: int,
    carried: int,
    golden: GoldenRecall | None,
    measured: Sequence[Gate],
) -> Verdict:
    """Hold the gates.

    published_in_scope: how many rows of `base` the run may delete.
    untouched: items of that release outside the run's scope, `carried` rejects among them.
    golden: the golden queries, None where the space has none or nothing changes.
    measured: the gates over what was measured where an encoder was loaded.
    """
    new: list[VectorGate] = [
        UnusableVectors(contract.spec),
        DuplicateVectors(limits.max_duplicate_vectors),
        Drift(limits.max_drift),
    ]
    looking = [*(new if shards else ()), *([golden] if golden else ())]
    if looking:
        for contents in next_release_contents(store, contract, base, shards, found.coming):
            for watcher in looking:
                watcher.update(contents)
    ledger, rejects, deletes = account_gates(
        found.account.ledger, published_in_scope, untouched, carried, limits
    )
    vectors, *distributions = (watcher.result() for watcher in new)
    gates = [ledger, vectors, rejects, deletes, *distributions]
    said = "the space names no golden queries, or this run changes no row"
    recall = (
        golden.result() if golden else Gate("golden", True, None, limits.min_golden_recall, said)
    )
    return Verdict(found.account.ledger, (*gates, recall, *measured), found.rejects)


_FAILURES = ("id", "content_digest", "reason", "message", "retryable")
