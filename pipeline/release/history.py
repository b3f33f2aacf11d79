"""The life of releases: which there are, and what each one is.

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
from commonspace.pipeline.release.pins import load_pins
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store

State = Literal["candidate", "current", "retired", "superseded", "damaged"]


@dataclass(frozen=True)
class ReleaseInfo:
    """A release of a space as a person asks for it."""

    number: int
    state: State
    parent: int | None
    """What is None stands in the manifest, and that is damaged."""
    rows: int | None
    added: int | None
    changed: int | None
    removed: int | None
    """Rows against the parent; None in releases that did not count them."""
    run: str | None
    created_at: str | None
    promoted_at: str | None
    """When it was last promoted; None where it never was, or long ago."""
    pinned: str | None
    """Why it is pinned, perhaps empty; None where it is not."""
    problem: str | None = None
    """What is wrong with its manifest."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def classify_releases(
    parents: Mapping[int, int], served: int, earlier: Collection[int]
) -> dict[int, State]:
    """The state of every release.

    parents: of each number, the release it was made from. served: the current one, 0 where
    there is none. earlier: what is known to have been served. A parent was served, too: a run
    plans from CURRENT.
    """
    was = {*earlier, *parents.values()}
    waiting = [n for n in parents if n not in was and n != served and parents[n] == served]
    found: dict[int, State] = {}
    for number in sorted(parents):
        if number == served:
            found[number] = "current"
        elif number in was:
            found[number] = "retired"
        else:
            found[number] = "candidate" if number == max(waiting, default=0) else "superseded"
    return found


def load_manifests(store: Store, name: SpaceName) -> dict[int, Release]:
    """Every release of the space, by number; one that is removed meanwhile is left out.

    Raises ContractBroken where a manifest is damaged.
    """
    found, damaged = load_readable_manifests(store, name)
    for error in damaged.values():
        raise error
    return found


def load_readable_manifests(
    store: Store, name: SpaceName
) -> tuple[dict[int, Release], dict[int, ContractBroken]]:
    """Every release whose manifest can be read; and what is wrong with the others."""
    found, damaged = {}, {}
    for number in release_numbers(store, name):
        try:
            found[number] = load_release(store, name, number)
        except NotPublished:
            continue
        except ContractBroken as error:
            damaged[number] = error
    return found, damaged


def list_releases(store: Store, name: SpaceName) -> list[ReleaseInfo]:
    """Every release of the space that is kept, damaged ones too, ascending.

    Raises NotPublished for none.
    """
    pointer, (found, damaged) = load_current(store, name), load_readable_manifests(store, name)
    if not found and not damaged:
        raise NotPublished(
            "there are no releases", item=str(name), do="`commonspace show` lists what there is."
        )
    state, pinned = release_states(found, pointer), load_pins(store, name)
    promoted = {one.release: one.promoted_at for one in pointer.served} if pointer else {}
    if pointer:
        promoted[pointer.release] = pointer.promoted_at
    reasons = {number: one.reason for number, one in pinned.items()}
    broken = [
        ReleaseInfo(
            number, "damaged", None, None, None, None, None, None, None,
            promoted.get(number), reasons.get(number), f"{error.item}: {error.what}",
        )
        for number, error in damaged.items()
    ]  # fmt: skip
    whole = [
        ReleaseInfo(
            number,
            state[number],
            release.parent,
            release.rows,
            release.changes.get("added"),
            release.changes.get("changed"),
            release.changes.get("removed"),
            release.run,
            release.created_at,
            promoted.get(number),
            reasons.get(number),
        )
        for number, release in found.items()
    ]
    return sorted(whole + broken, key=lambda one: one.number)


def release_states(found: Mapping[int, Release], pointer: Current | None) -> dict[int, State]:
    """`states` of the manifests under a pointer."""
    earlier = [one.release for one in pointer.served] if pointer else []
    parents = {number: release.parent for number, release in found.items()}
    return classify_releases(parents, pointer.release if pointer else 0, earlier)
