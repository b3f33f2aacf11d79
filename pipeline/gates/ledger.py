"""The ledger of a run and its gates: every item accounted for, few rejects, few deletes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.gates.gate import Gate


@dataclass(frozen=True)
class Ledger:
    """The account of one run over one space: every offered item in exactly one state.

    `deleted` and `absent` are counted beside: rows that left the release, and items that carry
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

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)


@dataclass(frozen=True, kw_only=True)
class ScopeCounts:
    """What the release before holds, within and outside the scope of a run.

    Attributes:
        deletable: Its rows that the run may delete.
        untouched: Its items outside the scope, `carried` included, and the rows within that stay
            because their file is gone, empty, cut or unreadable.
        carried: Its rejects outside the scope.
    """

    deletable: int
    untouched: int
    carried: int


def account_gates(
    ledger: Ledger, counts: ScopeCounts, limits: GatesSection
) -> tuple[Gate, Gate, Gate]:
    """`ledger`, `reject_share` and `deleted_share`.

    The share of rejects is that of the whole space after the run: a run over a few items that
    were bad before must be allowed to heal some of them.
    """
    states = ledger.encoded + ledger.reused + ledger.kept + ledger.rejected
    items = ledger.offered + counts.untouched
    rejects = ledger.rejected + counts.carried
    reject_share = rejects / items if items else 0.0
    deleted_share = ledger.deleted / counts.deletable if counts.deletable else 0.0
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
            reject_share <= limits.max_reject_share,
            reject_share,
            limits.max_reject_share,
            f"{rejects} of {items} items are rejects "
            f"({reject_share:.1%}, max_reject_share is {limits.max_reject_share:.1%})",
        ),
        Gate(
            "deleted_share",
            deleted_share <= limits.max_deleted_share,
            deleted_share,
            limits.max_deleted_share,
            f"{ledger.deleted} of {counts.deletable} published rows would go "
            f"({deleted_share:.1%}, max_deleted_share is {limits.max_deleted_share:.1%})",
        ),
    )
