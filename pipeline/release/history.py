"""The releases of a space, and the state of each.

candidate    committed and not promoted yet; the newest that follows the served release
current      what readers are served
retired      was served before
superseded   never served, and another one has come: a newer candidate or a promotion
damaged      its manifest cannot be read
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.release.manifest import Release, load_release, release_numbers
from commonspace.pipeline.release.markers.pins import load_pins
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store

State = Literal["candidate", "current", "retired", "superseded", "damaged"]


@dataclass(frozen=True, kw_only=True)
class ReleaseInfo:
    """A release of a space, as `commonspace releases` lists it.

    What only the manifest knows is None where that is damaged.
    """

    number: int
    state: State
    parent: int | None = None
    rows: int | None = None
    added: int | None = None
    changed: int | None = None
    removed: int | None = None
    """Rows against the parent; None in releases that did not count them."""
    run: str | None = None
    created_at: str | None = None
    promoted_at: str | None = None
    """When it was last promoted; None where it never was, or where that is no longer known."""
    pinned: str | None = None
    """Why it is pinned, perhaps empty; None where it is not."""
    problem: str | None = None
    """What is wrong with its manifest."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_releases(store: Store, name: SpaceName) -> list[ReleaseInfo]:
    """Every release of the space that is kept, damaged ones too, ascending.

    Raises:
        NotPublished: there is none.
    """
    pointer = load_current(store, name)
    manifests, damaged = load_readable_manifests(store, name)
    if not manifests and not damaged:
        raise NotPublished(
            "there are no releases", item=str(name), do="`commonspace show` lists what there is."
        )
    states = release_states(manifests, pointer)
    pins = {number: pin.reason for number, pin in load_pins(store, name).items()}
    promoted = {entry.release: entry.promoted_at for entry in pointer.served} if pointer else {}
    if pointer:
        promoted[pointer.release] = pointer.promoted_at
    infos = [
        ReleaseInfo(
            number=number,
            state="damaged",
            promoted_at=promoted.get(number),
            pinned=pins.get(number),
            problem=f"{error.item}: {error.what}",
        )
        for number, error in damaged.items()
    ]
    infos += [
        ReleaseInfo(
            number=number,
            state=states[number],
            parent=release.parent,
            rows=release.rows,
            added=release.changes.get("added"),
            changed=release.changes.get("changed"),
            removed=release.changes.get("removed"),
            run=release.run,
            created_at=release.created_at,
            promoted_at=promoted.get(number),
            pinned=pins.get(number),
        )
        for number, release in manifests.items()
    ]
    return sorted(infos, key=lambda info: info.number)


def load_manifests(store: Store, name: SpaceName) -> dict[int, Release]:
    """Every release of the space, by number; one that is removed meanwhile is left out.

    Raises:
        ContractBroken: a manifest is damaged.
    """
    manifests, damaged = load_readable_manifests(store, name)
    for error in damaged.values():
        raise error
    return manifests


def load_readable_manifests(
    store: Store, name: SpaceName
) -> tuple[dict[int, Release], dict[int, ContractBroken]]:
    """Every release whose manifest can be read, and what is wrong with the others; by number."""
    manifests, damaged = {}, {}
    for number in release_numbers(store, name):
        try:
            manifests[number] = load_release(store, name, number)
        except NotPublished:  # removed since the listing
            continue
        except ContractBroken as error:
            damaged[number] = error
    return manifests, damaged


def release_states(manifests: Mapping[int, Release], pointer: Current | None) -> dict[int, State]:
    """The state of every release whose manifest can be read, by number."""
    earlier = [entry.release for entry in pointer.served] if pointer else []
    parents = {number: release.parent for number, release in manifests.items()}
    return classify_releases(parents, pointer.release if pointer else 0, earlier)


def classify_releases(
    parents: Mapping[int, int], served: int, earlier: Collection[int]
) -> dict[int, State]:
    """The state of every release; a pure function.

    Args:
        parents: of each number, the release it was made from. A parent was served, for a run
            plans from CURRENT.
        served: the current release, 0 where there is none.
        earlier: what is known to have been served before.
    """
    once_served = {*earlier, *parents.values()}
    candidates = [
        number
        for number, parent in parents.items()
        if number not in once_served and number != served and parent == served
    ]
    states: dict[int, State] = {}
    for number in sorted(parents):
        if number == served:
            states[number] = "current"
        elif number in once_served:
            states[number] = "retired"
        else:
            newest = number == max(candidates, default=0)
            states[number] = "candidate" if newest else "superseded"
    return states
