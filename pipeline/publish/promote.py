"""Promotion: bring LanceDB to a release, then let readers see both at once.

    announce it in PROMOTING -> sync the LanceDB table and its indexes -> measure their recall
        -> flush -> compare and swap CURRENT -> withdraw the announcement

Readers follow CURRENT, which names the release and the version of the LanceDB table that holds
it: both move in the one swap. Whoever finds an announcement finishes that promotion or undoes
it: a promotion or a rollback syncs LanceDB with its own release; a run that promotes nothing, and
`verify --repair`, sync it with the served one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.layout import current_key, promotion_lock_key, table_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.errors import Conflict, ContractBroken, GateRefused
from commonspace.pipeline.index.compaction import compact_when_due
from commonspace.pipeline.index.recall_gate import sync_and_measure
from commonspace.pipeline.publish.notes import PromotionNote
from commonspace.pipeline.publish.pending import (
    PROMOTE,
    ROLLBACK,
    announce,
    load_pending_promotion,
    withdraw,
)
from commonspace.pipeline.release.contract_check import record_recipe
from commonspace.pipeline.release.indexes import Indexes
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.markers.retirement import require_not_retired
from commonspace.pipeline.release.pointer import Current, RollbackHold, load_current
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Work, timer

BY_HAND = (PROMOTE, ROLLBACK)
"""What a person moves readers by, as `Promotion.by`; only these set or lift a space's hold."""
RECOVERY = "recovery"
"""What brings LanceDB back to the served release, as `Promotion.by`; it is never stored."""


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A release that readers are to see."""

    release: Release
    by: str
    """A run's id, PROMOTE, ROLLBACK or RECOVERY."""
    after: int
    """Which release may be served until now, 0 for none."""
    hold: RollbackHold | None = None
    """What is to keep runs from promoting from now on; only a promotion by hand changes it."""
    overwrite_pointer: bool = False
    """Whether a damaged CURRENT is replaced."""

    @property
    def can_be_refused(self) -> bool:
        """Whether a weak vector index stops it.

        Where readers go back to a release that was served, its rows matter more than how they
        are found.
        """
        return self.by not in (ROLLBACK, RECOVERY)


def promote_stage(work: Work, number: int) -> bool:
    """Promote the run's release.

    Returns:
        whether readers see a change.

    Raises:
        Conflict: another run was promoted since the plan was made, or the space is held.
        UserMistake: the space's version has been retired since.
    """
    require_not_retired(work.run.store, work.name)
    release = load_release(work.run.store, work.name, number)
    with timer() as seconds:
        before = load_current(work.run.store, work.name)
        promotion = Promotion(
            release=release, by=work.run.id, after=work.read_note(PlanSummary).base
        )
        moved = serve(work.run.store, work.name, work.contract, promotion)
        # A retry after the pointer moved has promoted all the same.
        moved = moved or (before is not None and before.run == work.run.id)
    work.write_note(PromotionNote(release=number, promoted=moved, seconds=seconds()))
    return moved


def serve(store: Store, name: SpaceName, contract: Contract, promotion: Promotion) -> bool:
    """Make a release the one that readers see.

    Where it is served already, only LanceDB is compared with it. Can be interrupted anywhere and
    called again.

    Returns:
        whether CURRENT has moved to the release.

    Raises:
        Conflict: another release is served, this one is being removed, or the space is held.
        ContractBroken: a file of the release is damaged, or LanceDB holds something else than
            was written; readers see no change.
        GateRefused: the vector index finds too little; LanceDB goes back to what is served.
            Rollbacks are never refused so, nor is a release that is served already: its searches
            compare every row.
    """
    # The release may have other columns than the run that finds it, as where it undoes another.
    contract = promotion.release.contract(load_contract(store, name) or contract)
    with _recovering_if_refused(store, name, contract), store.lock(promotion_lock_key(name)):
        stored = _read_pointer(store, name)
        pointer = _decode(stored, overwrite_damaged=promotion.overwrite_pointer)
        _require_allowed(name, promotion, pointer)
        moves = pointer is None or pointer.release != promotion.release.number
        if moves:
            announce(store, name, promotion.release, promotion.by)
        synced = _sync_table(store, name, contract, promotion, pointer)
        new_pointer = _next_pointer(name, promotion, pointer, synced)
        if new_pointer != pointer:
            _move_pointer(store, name, stored, new_pointer)
            # Before the withdrawal: where it fails, the same call again finishes the promotion.
            before = pointer.table_version if pointer else 0
            compact_when_due(store, name, before, new_pointer.table_version)
        if promotion.release.recipe:
            record_recipe(store, name, Recipe.from_json(promotion.release.recipe))
        withdraw(store, name)
    return moves


def recover_promotion(store: Store, name: SpaceName, contract: Contract) -> bool:
    """Undo a promotion that was interrupted; True where there was one.

    LanceDB goes back to the served release. Where nothing is served yet, nobody relies on the
    table, and the next promotion finishes.
    """
    pointer = load_current(store, name)
    if pointer is None or load_pending_promotion(store, name) is None:
        return False
    release = load_release(store, name, pointer.release)
    recovery = Promotion(release=release, by=RECOVERY, after=release.number)
    try:
        serve(store, name, contract, recovery)
    except Conflict:  # the promotion was alive, and has ended
        return False
    return True


@contextmanager
def _recovering_if_refused(store: Store, name: SpaceName, contract: Contract) -> Iterator[None]:
    try:
        yield
    except GateRefused:
        with suppress(CommonspaceError):  # the announcement stands: whoever comes next recovers
            recover_promotion(store, name, contract)
        raise


def _read_pointer(store: Store, name: SpaceName) -> bytes | None:
    data = store.read(current_key(name))
    return data.to_pybytes() if data is not None else None


def _decode(stored: bytes | None, *, overwrite_damaged: bool) -> Current | None:
    try:
        return Current.from_bytes(stored) if stored is not None else None
    except ContractBroken:
        if not overwrite_damaged:
            raise
        return None


def _require_allowed(name: SpaceName, promotion: Promotion, pointer: Current | None) -> None:
    """Refuse to replace another release than was expected, or one that is held."""
    number, served = promotion.release.number, pointer.release if pointer else 0
    if served not in (number, promotion.after):
        raise Conflict(
            f"release {number} follows release {promotion.after}, but release {served} "
            "has been promoted meanwhile",
            item=str(name),
        )
    hold = pointer.hold if pointer else None
    if hold and served != number and promotion.by not in BY_HAND:
        raise Conflict(f"the space is {hold}", item=str(name))


def _sync_table(
    store: Store,
    name: SpaceName,
    contract: Contract,
    promotion: Promotion,
    pointer: Current | None,
) -> tuple[int, Indexes | None]:
    """The table's version that holds the release, flushed, and its indexes."""
    moves = pointer is None or pointer.release != promotion.release.number
    try:
        version, indexes = sync_and_measure(
            store, name, contract, promotion.release, pointer,
            refuse=moves and promotion.can_be_refused,
        )  # fmt: skip
    except GateRefused:
        if pointer is None:  # nobody relies on the table, and there is nothing to go back to
            withdraw(store, name)
        raise
    store.flush(table_folder(name))  # LanceDB itself calls no fsync
    return version, indexes


def _next_pointer(
    name: SpaceName,
    promotion: Promotion,
    pointer: Current | None,
    synced: tuple[int, Indexes | None],
) -> Current:
    """The pointer once the release is served; `synced`: by which version of the table."""
    number, by, (version, indexes) = promotion.release.number, promotion.by, synced
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    if pointer is None:
        moved = Current(
            release=number, table=name.table, table_version=version, promoted_at=moment, run=by
        )
    elif pointer.release != number:
        moved = pointer.after_promotion(
            release=number, table_version=version, promoted_at=moment, run=by
        )
    else:
        moved = replace(pointer, table_version=version)
    standing = pointer.hold if pointer else None
    return replace(moved, hold=promotion.hold if by in BY_HAND else standing, indexes=indexes)


def _move_pointer(store: Store, name: SpaceName, expected: bytes | None, pointer: Current) -> None:
    if not store.compare_and_swap(current_key(name), expected, pointer.to_bytes()):
        raise Conflict("another run was promoted meanwhile", item=str(name))
