"""Promotion and rollback by hand: which release is meant, and whether it may be served."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, ContractBroken, NotPublished, UserMistake
from commonspace.pipeline.publish.promote import announced, serve
from commonspace.pipeline.release.history import State, load_readable_manifests, release_states
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import (
    Current,
    RollbackHold,
    any_was_served,
    load_current,
    require_pointer,
)
from commonspace.pipeline.release.retirement import require_not_retired
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.work import Work, timer


@dataclass(frozen=True)
class PromotionResult:
    """What readers are served now, and what they were served before."""

    release: int
    before: int
    """0 where nothing was."""
    hold: RollbackHold | None = None
    """What keeps runs from promoting from now on."""
    lifted: RollbackHold | None = None
    """What has kept them from it until now."""

    @property
    def moved(self) -> bool:
        return self.release != self.before


def promote_by_hand(store: Store, name: SpaceName, number: int | None = None) -> PromotionResult:
    """Serve a candidate, the given one or the newest, and lift the hold of a rollback.

    Given the release that is served, it only lifts the hold. Raises UserMistake where there is
    no candidate, Conflict where another release has been promoted since it was made,
    ContractBroken where the newest candidate's manifest is damaged.
    """
    require_not_retired(store, name)
    pointer, known, damaged = _known(store, name)
    served = pointer.release if pointer else 0
    number = number or _interrupted(store, name, "promote")
    waiting = [n for n, state in known.items() if state == "candidate"]
    if number is None:
        _refuse_damaged(damaged, max([served, *waiting]))
    if number is None and not waiting:
        lift = f" `commonspace promote {name} {served}` only lifts the hold."
        raise UserMistake(
            f"there is no candidate: release {served} is served",
            item=str(name),
            do="A run makes one; `commonspace releases` lists what there is."
            + (lift if pointer and pointer.hold else ""),
        )
    release = load_release(store, name, number or waiting[0])
    if known[release.number] == "retired" and release.parent != served:
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
            do=f"It would take back what release {served} brought. `commonspace run "
            f"{name.collection} --space {name.space}/v{name.version} --no-promote` makes a new "
            "candidate from what is served; finished work is found again.",
        )
    serve(store, name, _contract(store, name), release, by="promote")
    return PromotionResult(release.number, served, lifted=pointer.hold if pointer else None)


def promote_approved(work: Work) -> None:
    """Promote what a person was shown of a run, and no other release. Raises as by hand.

    It waited when the run published it: who finds it served already repeats a try that told
    nobody, or was preceded by somebody at a terminal. So the run has promoted it in any case, and
    a hold that was set since is left alone.
    """
    number = work.read_note("publish.json")["release"]
    pointer = load_current(work.run.store, work.name)
    with timer() as seconds:
        if pointer is None or pointer.release != number:
            promote_by_hand(work.run.store, work.name, number)
    work.write_note("promote.json", {"release": number, "promoted": True, "seconds": seconds()})


def roll_back(
    store: Store, name: SpaceName, number: int | None = None, reason: str = ""
) -> PromotionResult:
    """Serve a release that was served before, the given one or the one before the current, and
    hold the space there: runs leave candidates until somebody promotes by hand.

    Given the release that is served, it only holds the space. Where CURRENT is damaged or lost,
    nobody knows what was served: the given release is from now on. Raises UserMistake where there
    is none, or it was never served; Conflict where another release is promoted meanwhile.
    """
    if number is not None and _is_unknown(store, name):
        return _overwrite_pointer(store, name, number, reason)
    pointer, known, _ = _known(store, name)
    number = number or _interrupted(store, name, "rollback")
    if pointer is None:
        require_pointer(store, name)
        raise NotPublished("nothing is served yet", item=str(name))
    served = pointer.release
    if number is None:
        number = load_release(store, name, served).parent
        if not number:
            raise UserMistake(f"release {served} is the first", item=str(name))
    release = load_release(store, name, number)
    if known[number] not in {"retired", "current"}:
        raise UserMistake(
            f"release {number} was never served",
            item=str(name),
            do=f"`commonspace promote {name} {number}` serves a candidate.",
        )
    hold = _hold(reason)
    if pointer.hold and number == served and not reason:  # it was killed and is called again
        hold = pointer.hold
    serve(store, name, _contract(store, name), release, by="rollback", after=served, hold=hold)
    return PromotionResult(number, served, hold=hold)


def _is_unknown(store: Store, name: SpaceName) -> bool:
    """Whether something was served, and CURRENT does not say what."""
    try:
        return load_current(store, name) is None and any_was_served(store, name)
    except ContractBroken:
        return True


def _overwrite_pointer(store: Store, name: SpaceName, number: int, reason: str) -> PromotionResult:
    release, hold = load_release(store, name, number), _hold(reason)
    contract = _contract(store, name)
    serve(store, name, contract, release, by="rollback", after=0, hold=hold, overwrite_pointer=True)
    return PromotionResult(number, 0, hold=hold)


def _hold(reason: str) -> RollbackHold:
    return RollbackHold(datetime.now(UTC).isoformat(timespec="seconds"), reason)


def _known(
    store: Store, name: SpaceName
) -> tuple[Current | None, dict[int, State], dict[int, ContractBroken]]:
    """The pointer; the state of every release; and what is wrong with those, never served,
    whose manifest is damaged."""
    pointer = load_current(store, name)
    found, damaged = load_readable_manifests(store, name)
    earlier = {one.release for one in pointer.served} if pointer else set()
    never = {number: error for number, error in damaged.items() if number not in earlier}
    return pointer, release_states(found, pointer), never


def _refuse_damaged(damaged: dict[int, ContractBroken], after: int) -> None:
    """Choose no older candidate where a newer release may be the one that is meant."""
    for number, error in damaged.items():
        if number > after:
            raise error


def _interrupted(store: Store, name: SpaceName, verb: str) -> int | None:
    """The release that an interrupted call of the verb has turned to."""
    turn = announced(store, name)
    return turn.release if turn is not None and turn.by == verb else None


def _contract(store: Store, name: SpaceName) -> Contract:
    contract = load_contract(store, name)
    if contract is None:
        raise NotPublished("nothing was published", item=str(name))
    return contract
