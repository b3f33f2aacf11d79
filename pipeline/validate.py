"""Validate: the ledger of a run and its gates, before anything is visible to a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.coming import Coming, contents_to_come, rows_to_come
from pipeline.config import GatesSection
from pipeline.contract import Contract
from pipeline.errors import GateRefused
from pipeline.gates import (
    Drift,
    DuplicateVectors,
    GoldenRecall,
    UnusableVectors,
    Watcher,
    account_gates,
)
from pipeline.ledger import Account, Failed, settle
from pipeline.records import Gate, Ledger, Plan, Release
from pipeline.shards import read_shard
from pipeline.store import Store

SHOWN_REJECTS = 5


@dataclass(frozen=True)
class Verdict:
    """What a run amounts to, and whether it may be published."""

    ledger: Ledger
    gates: tuple[Gate, ...]
    rejects: tuple[str, ...]
    """What this run rejected, in words: counts by reason, then the first items."""

    def to_json(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {
            "ledger": self.ledger.to_json(),
            "gates": [gate.to_json() for gate in self.gates],
            "rejects": self.rejects,
        }

    def enforce(self, space: str) -> None:
        """Raises GateRefused, naming every gate that did not hold."""
        broken = [gate for gate in self.gates if not gate.ok]
        if broken:
            raise GateRefused(
                "; ".join(f"gate {gate.name} refused: {gate.message}" for gate in broken),
                item=space,
                do="\n  ".join(
                    [
                        *(["Rejected:", *self.rejects] if self.rejects else []),
                        "Nothing was published; what was served before is served still. Limits "
                        "stand in [gates] of the collection file.",
                    ]
                ),
                gates=[gate.to_json() for gate in self.gates],
            )


@dataclass(frozen=True)
class Settled:
    """What a run amounts to before its vectors are looked at."""

    account: Account
    coming: Coming
    rejects: tuple[str, ...]


def settled(
    plan: Plan,
    offered: int,
    absent: int,
    pull_rejects: pa.Table,
    published: pa.Table,
    shards: Sequence[str],
    contract: Contract,
    store: Store,
) -> Settled:
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
    failed = Failed(pa.concat_arrays(every), pa.concat_arrays(lasting))
    account = settle(
        plan,
        failed,
        offered=offered,
        absent=absent,
        pull_rejects=pull_rejects.num_rows,
        published_ids=published["id"].combine_chunks(),
    )
    coming = rows_to_come(plan, published, failed.every, account.gone)
    return Settled(account, coming, tuple(told_rejects(rejects)))


def validate(
    found: Settled,
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
    new: list[Watcher] = [
        UnusableVectors(contract.spec),
        DuplicateVectors(limits.max_duplicate_vectors),
        Drift(limits.max_drift),
    ]
    looking = [*(new if shards else ()), *([golden] if golden else ())]
    if looking:
        for contents in contents_to_come(store, contract, base, shards, found.coming):
            for watcher in looking:
                watcher.see(contents)
    ledger, rejects, deletes = account_gates(
        found.account.ledger, published_in_scope, untouched, carried, limits
    )
    vectors, *distributions = (watcher.gate() for watcher in new)
    gates = [ledger, vectors, rejects, deletes, *distributions]
    said = "the space names no golden queries, or this run changes no row"
    recall = golden.gate() if golden else Gate("golden", True, None, limits.min_golden_recall, said)
    return Verdict(found.account.ledger, (*gates, recall, *measured), found.rejects)


def told_rejects(rejects: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rejects in words: how many of each reason, then the first few by name."""
    counts = Counter(str(row["reason"]) for row in rejects)
    said = [", ".join(f"{count} {reason}" for reason, count in counts.items())] if counts else []
    for row in rejects[:SHOWN_REJECTS]:
        name = row["id"] if row["id"] is not None else row.get("source_uri")
        said.append(f"{name!r}: {row['message']} ({row['reason']})")
    if len(rejects) > SHOWN_REJECTS:
        said.append("…")
    return said


_FAILURES = ("id", "content_digest", "reason", "message", "retryable")
