"""The gates over a run's ledger: every item accounted for, few rejects, few deletes."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.gates.gate import Gate


def account_gates(
    ledger: Ledger, published: int, untouched: int, carried: int, limits: GatesSection
) -> tuple[Gate, Gate, Gate]:
    """`ledger`, `reject_share` and `deleted_share`.

    published: rows that the run may delete; untouched: items outside its scope, `carried`
    rejects among them. The share of rejects is that of the whole space after the run: a run
    over a few items that were bad before must be allowed to heal some of them.
    """
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


@dataclass(frozen=True)
class Ledger:
    """The account of one run over one space: every offered item in exactly one state.

    deleted and absent are counted beside: rows that left the release, and items that carry
    no content for this space at all. Where a text has a row for each passage, what is offered
    are its passages, and the text itself where it could not be read.
    """

    offered: int = 0
    encoded: int = 0
    reused: int = 0
    kept: int = 0
    rejected: int = 0
    deleted: int = 0
    absent: int = 0

    @property
    def balances(self) -> bool:
        return self.offered == self.encoded + self.reused + self.kept + self.rejected

    def to_json(self) -> dict[str, int]:
        return asdict(self)
