"""The account of a run: every offered item in exactly one state, from the plan and what failed."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.gates.ledger import Ledger
from commonspace.pipeline.plan.plan import ACTIONS, Plan


@dataclass(frozen=True, kw_only=True)
class FailedContents:
    """Content digests without a vector; `permanent`: those that trying again cannot help."""

    all: pa.Array
    permanent: pa.Array


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """The ledger, and the published ids that have no row any more."""

    ledger: Ledger
    removed_ids: pa.Array


def count_outcomes(
    plan: Plan,
    failed: FailedContents,
    *,
    offered: int,
    absent: int,
    pull_rejects: int,
    published_ids: pa.Array,
) -> Accounting:
    """Count every item's state.

    Args:
        plan: what was to be done with each item.
        failed: what the encoder gave no vector.
        offered: items that the source offered, counted by `pull`, `pull_rejects` included.
        absent: items without content for the space.
        pull_rejects: records that `pull` rejected.
        published_ids: the ids of the release that the plan was made from.
    """
    table = plan.table
    needs_vector = pc.is_in(table["action"], value_set=pa.array(["encode", "reuse"]))
    has_failed = pc.and_(needs_vector, pc.is_in(table["digest"], value_set=failed.all))
    permanent = pc.and_(needs_vector, pc.is_in(table["digest"], value_set=failed.permanent))
    done = table.filter(pc.invert(has_failed))
    rows = {action: done.filter(pc.equal(done["action"], action)) for action in ACTIONS}
    leaving = (table.filter(permanent), rows["reject"], rows["delete"])
    ids = pc.unique(pa.concat_arrays([part["id"].combine_chunks() for part in leaving]))
    removed = ids.filter(pc.is_in(ids, value_set=published_ids))
    failures = int(pc.sum(has_failed).as_py() or 0)
    ledger = Ledger(
        offered=offered,
        encoded=rows["encode"].num_rows,
        reused=rows["reuse"].num_rows,
        kept=rows["keep"].num_rows,
        rejected=failures + rows["reject"].num_rows + pull_rejects,
        deleted=len(removed),
        absent=absent,
    )
    return Accounting(ledger=ledger, removed_ids=removed)
