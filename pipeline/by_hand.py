"""Promotion and rollback by hand: which release is meant, and whether it may be served."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contract import Contract, SpaceName, stored_contract
from pipeline.errors import ContractBroken, NotPublished, UserMistake
from pipeline.history import State, states_of, whole_manifests
from pipeline.promote import announced, serve
from pipeline.releases import current, load_release
from pipeline.retire import refuse_retired
from pipeline.store import Store


@dataclass(frozen=True)
class Turned:
    """What readers are served now, and what they were served before."""

    release: int
    before: int
    """0 where nothing was."""

    @property
    def moved(self) -> bool:
        return self.release != self.before


def promote_by_hand(store: Store, name: SpaceName, number: int | None = None) -> Turned:
    """Serve a candidate: the given one, or the newest.

    Raises UserMistake where there is no candidate, Conflict where another release has been
    promoted since it was made, ContractBroken where the newest candidate's manifest is damaged.
    """
    refuse_retired(store, name)
    served, known, damaged = _known(store, name)
    number = number or _interrupted(store, name, "promote")
    waiting = [n for n, state in known.items() if state == "candidate"]
    if number is None:
        _refuse_damaged(damaged, max([served, *waiting]))
    if number is None and not waiting:
        raise UserMistake(
            f"there is no candidate: release {served} is served",
            item=str(name),
            do="A run makes one; `commonspace releases` lists what there is.",
        )
    release = load_release(store, name, number or waiting[0])
    if known[release.number] == "retired" and release.parent != served:
        raise UserMistake(
            f"release {release.number} was served before",
            item=str(name),
            do=f"`commonspace rollback {name} {release.number}` serves it again.",
        )
    serve(store, name, _contract(store, name), release, by="promote")
    return Turned(release.number, served)


def roll_back(store: Store, name: SpaceName, number: int | None = None) -> Turned:
    """Serve a release that was served before: the given one, or the one before the current.

    Raises UserMistake where there is none, or it was never served; Conflict where another
    release is promoted meanwhile.
    """
    served, known, _ = _known(store, name)
    number = number or _interrupted(store, name, "rollback")
    if not served:
        raise NotPublished("nothing is served yet", item=str(name))
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
    serve(store, name, _contract(store, name), release, by="rollback", after=served)
    return Turned(number, served)


def _known(
    store: Store, name: SpaceName
) -> tuple[int, dict[int, State], dict[int, ContractBroken]]:
    """The served release, 0 for none; the state of every one; and what is wrong with those,
    never served, whose manifest is damaged."""
    pointer = current(store, name)
    found, damaged = whole_manifests(store, name)
    earlier = {one.release for one in pointer.served} if pointer else set()
    never = {number: error for number, error in damaged.items() if number not in earlier}
    return pointer.release if pointer else 0, states_of(found, pointer), never


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
    contract = stored_contract(store, name)
    if contract is None:
        raise NotPublished("nothing was published", item=str(name))
    return contract
