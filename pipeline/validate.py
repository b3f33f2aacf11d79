"""Validate: the ledger of a run and its gates, before anything is visible to a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.spec import EncoderSpec
from pipeline.config import GatesSection
from pipeline.contract import bad_vectors
from pipeline.errors import GateRefused
from pipeline.records import Gate, Ledger, Plan
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
            )


def validate(
    plan: Plan,
    offered: int,
    absent: int,
    pull_rejects: pa.Table,
    published_ids: pa.Array,
    published_in_scope: int,
    shards: Sequence[str],
    spec: EncoderSpec,
    limits: GatesSection,
    store: Store,
    *,
    untouched: int,
    carried: int,
    canary: Gate,
) -> Verdict:
    """Count every item's state and hold the gates against it.

    offered: what the source offered this space, counted by `pull`, rejects included.
    pull_rejects: REJECTS_SCHEMA rows: the records that `pull` rejected for this space.
    untouched: items of that release outside the run's scope, `carried` rejects among them.
    published_ids: those of the release the plan was made from; published_in_scope: how many
        of its rows the run may delete.
    canary: the gate that was held before anything was encoded.
    """
    failed, lasting = [_NONE], [_NONE]
    rejects = pull_rejects.to_pylist()
    vectors = bad = 0
    for key in shards:
        shard = read_shard(store, key, spec)
        ok = pc.is_null(shard["reason"])
        broken = shard.filter(pc.invert(ok))
        failed.append(broken["content_digest"].combine_chunks())
        rejects += broken.select(["id", "reason", "message"]).to_pylist()
        for_good = broken.filter(pc.invert(broken["retryable"]))
        lasting.append(for_good["content_digest"].combine_chunks())
        made = shard.filter(ok)["vector"].combine_chunks()
        vectors += len(made)
        bad += int(bad_vectors(_matrix(made, spec.dim), spec).sum())
    wanted = pc.is_in(plan.table["action"], value_set=pa.array(["encode", "reuse"]))
    digests = plan.table["digest"]
    lost = pc.and_(wanted, pc.is_in(digests, value_set=pa.concat_arrays(failed)))
    lost_for_good = pc.and_(wanted, pc.is_in(digests, value_set=pa.concat_arrays(lasting)))
    counts = {
        action: plan.table.filter(pc.and_(pc.equal(plan.table["action"], action), pc.invert(lost)))
        for action in ("encode", "reuse", "keep", "reject", "delete")
    }
    gone = pa.concat_arrays(
        [
            _ids(plan.table.filter(lost_for_good)),
            _ids(counts["reject"]),
            _ids(counts["delete"]),
        ]
    )
    ledger = Ledger(
        offered=offered,
        encoded=counts["encode"].num_rows,
        reused=counts["reuse"].num_rows,
        kept=counts["keep"].num_rows,
        rejected=int(pc.sum(lost).as_py() or 0) + counts["reject"].num_rows + len(pull_rejects),
        deleted=int(pc.sum(pc.is_in(pc.unique(gone), value_set=published_ids)).as_py() or 0),
        absent=absent,
    )
    gates = _gates(ledger, vectors, bad, published_in_scope, untouched, carried, limits)
    return Verdict(ledger, (*gates, canary), tuple(told_rejects(rejects)))


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


def _gates(
    ledger: Ledger,
    vectors: int,
    bad: int,
    published: int,
    untouched: int,
    carried: int,
    limits: GatesSection,
) -> tuple[Gate, ...]:
    """The share of rejects is that of the whole space after the run: a run over a few items
    that were bad before must be allowed to heal some of them."""
    states = ledger.encoded + ledger.reused + ledger.kept + ledger.rejected
    items = ledger.offered + untouched
    rejects = ledger.rejected + carried
    rejected = rejects / items if items else 0.0
    deleted = ledger.deleted / published if published else 0.0
    return (
        Gate(
            "ledger",
            ledger.balances,
            states,
            ledger.offered,
            f"{ledger.offered} items were offered, {states} are accounted for",
        ),
        Gate("vectors", bad == 0, bad, 0, f"{bad} of {vectors} vectors are not finite unit ones"),
        Gate(
            "reject_share",
            rejected <= limits.max_reject_share,
            rejected,
            limits.max_reject_share,
            f"{rejects} of {items} items are rejects "
            f"({rejected:.1%}, max_reject_share is {limits.max_reject_share:.1%})",
        ),
        Gate(
            "deleted_share",
            deleted <= limits.max_deleted_share,
            deleted,
            limits.max_deleted_share,
            f"{ledger.deleted} of {published} published rows would go "
            f"({deleted:.1%}, max_deleted_share is {limits.max_deleted_share:.1%})",
        ),
    )


_NONE = pa.nulls(0, pa.string())


def _ids(table: pa.Table) -> pa.Array:
    return table["id"].combine_chunks()


def _matrix(vectors: pa.Array, dim: int) -> np.ndarray:
    return np.asarray(vectors.flatten()).reshape(-1, dim)
