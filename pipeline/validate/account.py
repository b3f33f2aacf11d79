"""The ledger of a run: every offered item in exactly one state, from the plan and what failed."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.gates.ledger import Ledger
from commonspace.pipeline.plan.plan import Plan


@dataclass(frozen=True)
class FailedContents:
    """Content digests of what the encoder gave no vector; `lasting`: trying again cannot help."""

    every: pa.Array
    lasting: pa.Array


@dataclass(frozen=True)
class Accounting:
    """The ledger, and which published ids have no row any more."""

    ledger: Ledger
    gone: pa.Array


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

    offered: what the source offered this space, counted by `pull`, `pull_rejects` included.
    published_ids: those of the release the plan was made from.
    """
    wanted = pc.is_in(plan.table["action"], value_set=pa.array(["encode", "reuse"]))
    digests = plan.table["digest"]
    lost = pc.and_(wanted, pc.is_in(digests, value_set=failed.every))
    lost_for_good = pc.and_(wanted, pc.is_in(digests, value_set=failed.lasting))
    counts = {
        action: plan.table.filter(pc.and_(pc.equal(plan.table["action"], action), pc.invert(lost)))
        for action in ("encode", "reuse", "keep", "reject", "delete")
    }
    leaving = (plan.table.filter(lost_for_good), counts["reject"], counts["delete"])
    ids = pc.unique(pa.concat_arrays([table["id"].combine_chunks() for table in leaving]))
    gone = ids.filter(pc.is_in(ids, value_set=published_ids))
    ledger = Ledger(
        offered=offered,
        encoded=counts["encode"].num_rows,
        reused=counts["reuse"].num_rows,
        kept=counts["keep"].num_rows,
        rejected=int(pc.sum(lost).as_py() or 0) + counts["reject"].num_rows + pull_rejects,
        deleted=len(gone),
        absent=absent,
    )
    return Accounting(ledger, gone)
