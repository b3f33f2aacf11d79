"""Promotion and rollback by hand: which release is meant, and whether it may be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished, UserMistake
from commonspace.pipeline.publish.notes import PromotionNote, PublishNote
from commonspace.pipeline.publish.pending import PROMOTE, ROLLBACK, load_pending_promotion
from commonspace.pipeline.publish.promote import Promotion, serve
from commonspace.pipeline.release.history import State, load_readable_manifests, release_states
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.release.markers.retirement import require_not_retired
from commonspace.pipeline.release.pointer import (
    Current,
    RollbackHold,
    any_was_served,
    load_current,
    require_pointer,
)
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work, timer


@dataclass(frozen=True, kw_only=True)
class PromotionResult:
    """What readers are served now, and what they were served before."""

    release: int
    before: int
    """0 where nothing was served."""
    hold: RollbackHold | None = None
    """What keeps runs from promoting from now on."""
    lifted: RollbackHold | None = None
    """What has kept runs from promoting until now."""

    @property
    def moved(self) -> bool:
        return self.release != self.before


def promote_by_hand(store: Store, name: SpaceName, number: int | None = None) -> PromotionResult:
    """Serve a candidate, the given one or the newest, and lift the hold of a rollback.

    Given the release that is served, it only lifts the hold.

    Raises:
        UserMistake: there is no candidate, or the given release was served before.
        Conflict: another release has been promoted since the candidate was made.
        ContractBroken: the newest candidate's manifest is damaged.
    """
    require_not_retired(store, name)
    releases = _load_releases(store, name)
    number = number or _interrupted_release(store, name, PROMOTE)
    release = load_release(store, name, number or _newest_candidate(name, releases))
    _require_promotable(name, release, releases)
    promotion = Promotion(release=release, by=PROMOTE, after=release.parent)
    serve(store, name, _require_contract(store, name), promotion)
    lifted = releases.pointer.hold if releases.pointer else None
    return PromotionResult(release=release.number, before=releases.served, lifted=lifted)


def promote_approved(work: Work) -> None:
    """Promote the release of a run that a person has approved, and no other. Raises as by hand.

    Where it is served already, an earlier try of this task or somebody at a terminal has promoted
    it. It counts as promoted by the run, and a hold that was set since then stays.
    """
    number = work.read_note(PublishNote).release
    pointer = load_current(work.run.store, work.name)
    with timer() as seconds:
        if pointer is None or pointer.release != number:
            promote_by_hand(work.run.store, work.name, number)
    work.write_note(PromotionNote(release=number, promoted=True, seconds=seconds()))


def roll_back(
    store: Store, name: SpaceName, number: int | None = None, reason: str = ""
) -> PromotionResult:
    """Serve a release that was served before, and hold the space there.

    While it is held, runs leave candidates, until somebody promotes one by hand. Given the release
    that is served, it only holds the space. Where CURRENT is damaged or lost, nobody knows what
    was served, and any release may be given.

    Args:
        number: the release; by default the one that the served release was made from.
        reason: why; shown wherever the hold is.

    Raises:
        UserMistake: there is no earlier release, or the given one was never served.
        Conflict: another release is promoted meanwhile.
    """
    if number is not None and _is_pointer_lost(store, name):
        return overwrite_pointer(store, name, number, reason)
    releases = _load_releases(store, name)
    number = number or _interrupted_release(store, name, ROLLBACK)
    pointer = releases.pointer
    if pointer is None:
        require_pointer(store, name)
        raise NotPublished("nothing is served yet", item=str(name))
    release = load_release(store, name, number or _parent(store, name, pointer.release))
    _require_served_before(name, release.number, releases)
    hold = _new_hold(reason)
    if pointer.hold and release.number == pointer.release and not reason:
        hold = pointer.hold  # an interrupted rollback is called again
    promotion = Promotion(release=release, by=ROLLBACK, after=pointer.release, hold=hold)
    serve(store, name, _require_contract(store, name), promotion)
    return PromotionResult(release=release.number, before=pointer.release, hold=hold)


def overwrite_pointer(
    store: Store, name: SpaceName, number: int, reason: str = ""
) -> PromotionResult:
    """Serve a release and hold the space there, where CURRENT is damaged or lost.

    Raises:
        Conflict: CURRENT can be read, and another release is served.
    """
    release, hold = load_release(store, name, number), _new_hold(reason)
    promotion = Promotion(release=release, by=ROLLBACK, after=0, hold=hold, overwrite_pointer=True)
    serve(store, name, _require_contract(store, name), promotion)
    return PromotionResult(release=number, before=0, hold=hold)


@dataclass(frozen=True)
class _Releases:
    """What a person may choose from."""

    pointer: Current | None
    states: Mapping[int, State]
    damaged: Mapping[int, ContractBroken]
    """What is wrong with the manifests of releases that were never served."""

    @property
    def served(self) -> int:
        """The served release; 0 where there is none."""
        return self.pointer.release if self.pointer else 0


def _load_releases(store: Store, name: SpaceName) -> _Releases:
    pointer = load_current(store, name)
    manifests, damaged = load_readable_manifests(store, name)
    earlier = {served.release for served in pointer.served} if pointer else set()
    never_served = {number: error for number, error in damaged.items() if number not in earlier}
    return _Releases(pointer, release_states(manifests, pointer), never_served)


def _interrupted_release(store: Store, name: SpaceName, by: str) -> int | None:
    """The release of an interrupted promotion or rollback: the same call again finishes it."""
    pending = load_pending_promotion(store, name)
    return pending.release if pending is not None and pending.by == by else None


def _newest_candidate(name: SpaceName, releases: _Releases) -> int:
    candidates = [number for number, state in releases.states.items() if state == "candidate"]
    for number, error in releases.damaged.items():
        if number > max([releases.served, *candidates]):  # it may be the one that is meant
            raise error
    if candidates:
        return candidates[0]
    held = releases.pointer is not None and releases.pointer.hold is not None
    lift = f" `commonspace promote {name} {releases.served}` only lifts the hold." if held else ""
    raise UserMistake(
        f"there is no candidate: release {releases.served} is served",
        item=str(name),
        do="A run makes one; `commonspace releases` lists what there is." + lift,
    )


def _require_promotable(name: SpaceName, release: Release, releases: _Releases) -> None:
    served = releases.served
    if releases.states[release.number] == "retired" and release.parent != served:
        raise UserMistake(
            f"release {release.number} was served before",
            item=str(name),
            do=f"`commonspace rollback {name} {release.number}` serves it again.",
        )
    if served not in (release.number, release.parent):
        raise Conflict(
            f"release {release.number} follows release {release.parent}, but release {served} "
            "has been promoted meanwhile",
            item=str(name),
            retry=False,
            do=f"Promoting it would undo the changes of release {served}. `commonspace run "
            f"{name.collection} --space {name.space}/v{name.version} --no-promote` makes a new "
            "candidate from what is served; what is encoded already is not encoded again.",
        )


def _require_served_before(name: SpaceName, number: int, releases: _Releases) -> None:
    if releases.states[number] not in {"retired", "current"}:
        raise UserMistake(
            f"release {number} was never served",
            item=str(name),
            do=f"`commonspace promote {name} {number}` serves a candidate.",
        )


def _parent(store: Store, name: SpaceName, served: int) -> int:
    parent = load_release(store, name, served).parent
    if not parent:
        raise UserMistake(f"release {served} is the first", item=str(name))
    return parent


def _is_pointer_lost(store: Store, name: SpaceName) -> bool:
    """Whether something was served, and CURRENT does not say what."""
    try:
        return load_current(store, name) is None and any_was_served(store, name)
    except ContractBroken:
        return True


def _new_hold(reason: str) -> RollbackHold:
    return RollbackHold(datetime.now(UTC).isoformat(timespec="seconds"), reason)


def _require_contract(store: Store, name: SpaceName) -> Contract:
    contract = load_contract(store, name)
    if contract is None:
        raise NotPublished("nothing was published", item=str(name))
    return contract
