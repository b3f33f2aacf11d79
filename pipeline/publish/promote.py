"""Promotion: bring LanceDB to a release, then let readers see both at once.

    announce PROMOTING -> bring LanceDB to the release, its indices too -> measure their recall
        -> flush -> swap CURRENT -> withdraw

Readers follow CURRENT, which names the release and the version of the LanceDB table that holds
it: both move in the one swap. Whoever finds an announcement finishes that promotion or undoes
it: a promotion or a rollback by bringing LanceDB to its own release, a run that promotes
nothing and `verify --repair` by bringing it back to the served one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import current_key, promotion_key, promotion_lock_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, GateRefused, NotPublished
from commonspace.pipeline.index.compaction import compact_when_due
from commonspace.pipeline.index.recall_gate import sync_and_measure
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.markers import load_marker, marker_bytes
from commonspace.pipeline.release.pointer import Current, RollbackHold, load_current
from commonspace.pipeline.release.removal import require_not_in_removal
from commonspace.pipeline.release.retirement import require_not_retired
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work, timer

BY_HAND = ("promote", "rollback")
"""What a person turns a space by; only these change its hold."""
NEVER_REFUSED = ("rollback", "settle")
"""What goes back to a release that was served: its rows matter more than how they are found."""


@dataclass(frozen=True)
class PendingPromotion:
    """An announced promotion: to which release, and by what (as in `Current.run`)."""

    release: int
    by: str


def announced(store: Store, name: SpaceName) -> PendingPromotion | None:
    """The promotion that is under way or was interrupted."""
    return load_marker(store, promotion_key(name), PendingPromotion)


def promote_stage(work: Work, number: int) -> bool:
    """Promote the run's release; True where readers see a change.

    Raises Conflict where another run was promoted since the plan was made, or the space is held,
    UserMistake where the space's version has been retired since.
    """
    require_not_retired(work.run.store, work.name)
    release = load_release(work.run.store, work.name, number)
    with timer() as seconds:
        before = load_current(work.run.store, work.name)
        moved = serve(
            work.run.store, work.name, work.contract, release,
            by=work.run.id, after=work.read_note("plan.json")["base"],
        )  # fmt: skip
        # A retry after the pointer moved has promoted all the same.
        moved = moved or (before is not None and before.run == work.run.id)
    work.write_note("promote.json", {"release": number, "promoted": moved, "seconds": seconds()})
    return moved


def serve(
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    *,
    by: str,
    after: int | None = None,
    hold: RollbackHold | None = None,
    overwrite_pointer: bool = False,
) -> bool:
    """Make the release the one that readers see; True where CURRENT has moved to it.

    after: which release may be served before, the release's parent by default. Where it is
    served already, only LanceDB is compared with it. hold: what stands once a person has turned
    the space; others leave the hold as it is. anew: whether a damaged CURRENT is overwritten.
    Can be interrupted anywhere and called again. Raises Conflict where another release is served,
    this one is being removed or the space is held, and ContractBroken, before any reader sees a
    change, where a file of it is damaged or LanceDB holds something else than was written. Raises
    GateRefused where the vector index finds too little; LanceDB then goes back to what is served.
    A rollback is never refused so, nor is a release that is served already: searches are exact.
    """
    after = release.parent if after is None else after
    with _undone_if_refused(store, name, contract), store.lock(promotion_lock_key(name)):
        before = store.read(current_key(name))
        old = before.to_pybytes() if before is not None else None
        pointer = _read(old, overwrite_pointer)
        served = pointer.release if pointer else 0
        if served not in (release.number, after):
            raise Conflict(
                f"release {release.number} follows release {after}, but release {served} "
                "has been promoted meanwhile",
                item=str(name),
            )
        standing = pointer.hold if pointer else None
        if standing and served != release.number and by not in BY_HAND:
            raise Conflict(f"the space is {standing}", item=str(name))
        if served != release.number:
            _announce(store, name, release, by)
        refuse = served != release.number and by not in NEVER_REFUSED
        try:
            version, indices = sync_and_measure(
                store, name, contract, release, pointer, refuse=refuse
            )
        except GateRefused:
            if pointer is None:  # nobody relies on the table, and there is nothing to go back to
                store.delete(promotion_key(name))
            raise
        store.flush(f"lancedb/{name.table}.lance")  # LanceDB itself calls no fsync
        new = _moved(pointer, name, release.number, version, by)
        new = replace(new, hold=hold if by in BY_HAND else standing, indices=indices)
        if new != pointer and not store.compare_and_swap(current_key(name), old, new.to_bytes()):
            raise Conflict("another run was promoted meanwhile", item=str(name))
        if new != pointer:  # before the withdrawal: where it fails, the same call is finished
            compact_when_due(store.address, name, pointer.table_version if pointer else 0, version)
        if store.read(promotion_key(name)) is not None:
            store.delete(promotion_key(name))
    return served != release.number


def recover_promotion(store: Store, name: SpaceName, contract: Contract) -> bool:
    """Undo a promotion that was interrupted; True where there was one.

    LanceDB goes back to the served release. Where nothing is served yet, nobody relies on the
    table, and the next promotion finishes.
    """
    pointer = load_current(store, name)
    if pointer is None or announced(store, name) is None:
        return False
    release = load_release(store, name, pointer.release)
    try:
        serve(store, name, contract, release, by="settle", after=release.number)
    except Conflict:  # it was alive, and has ended
        return False
    return True


@contextmanager
def _undone_if_refused(store: Store, name: SpaceName, contract: Contract) -> Iterator[None]:
    try:
        yield
    except GateRefused:
        with suppress(CommonspaceError):  # the announcement stands, and whoever comes next settles
            recover_promotion(store, name, contract)
        raise


def interrupted(store: Store, name: SpaceName) -> list[str]:
    """What is wrong where a promotion was interrupted: LanceDB may be ahead of CURRENT."""
    if announced(store, name) is None:
        return []
    with store.lock(promotion_lock_key(name)):  # one that is alive ends first
        turn = announced(store, name)
    if turn is None:
        return []
    verb = "rollback" if turn.by == "rollback" else "promotion"
    return [f"a {verb} to release {turn.release} was interrupted: LanceDB may be ahead"]


def _announce(store: Store, name: SpaceName, release: Release, by: str) -> None:
    store.put(promotion_key(name), marker_bytes(PendingPromotion(release.number, by)))
    try:
        require_not_in_removal(store, name, release)
    except (Conflict, NotPublished):  # LanceDB is untouched
        store.delete(promotion_key(name))
        raise


def _read(data: bytes | None, overwrite_pointer: bool) -> Current | None:
    try:
        return Current.from_bytes(data) if data is not None else None
    except ContractBroken:
        if not overwrite_pointer:
            raise
        return None


def _moved(pointer: Current | None, name: SpaceName, number: int, version: int, by: str) -> Current:
    """The pointer once the release is served at that version of the LanceDB table."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    if pointer is None:
        return Current(number, name.table, version, moment, by)
    if pointer.release != number:
        return pointer.followed_by(number, version, moment, by)
    return pointer if pointer.table_version == version else replace(pointer, table_version=version)
