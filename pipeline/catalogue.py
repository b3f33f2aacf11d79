"""The catalogue: every space that is declared or published, and the state it is in."""

from __future__ import annotations

import re
from typing import Any

from encoders.spec import EncoderSpec
from pipeline.config import Collection
from pipeline.contract import SpaceName
from pipeline.errors import NotPublished, near
from pipeline.records import Release
from pipeline.releases import current, load_release, numbers
from pipeline.store import LocalStore


def catalogue(
    store: LocalStore, collections: list[Collection], name: str | None = None
) -> list[dict[str, Any]]:
    """One entry a space version, by name; `name` keeps a collection, a space or a version.

    Raises NotPublished where the name matches nothing.
    """
    declared = {
        str(SpaceName(c.name, s.name, s.version)): c.collection.owner
        for c in collections
        for s in c.space
    }
    names = sorted(declared.keys() | set(_published(store)))
    chosen = [n for n in names if name is None or n == name or n.startswith(f"{name}/")]
    if name is not None and not chosen:
        raise NotPublished(f"there is no {name!r}" + near(name, names))
    return [_entry(store, space, declared.get(space, "")) for space in chosen]


def _published(store: LocalStore) -> list[str]:
    found = (p.relative_to(store.root).parent.as_posix() for p in store.root.glob("*/*/v*/CURRENT"))
    return [name for name in found if re.fullmatch(r"[^/.]+/[^/]+/v[0-9]+", name)]


def _entry(store: LocalStore, space: str, owner: str) -> dict[str, Any]:
    collection, short, version = space.split("/")
    name = SpaceName(collection, short, int(version[1:]))
    pointer = current(store, name)
    release: Release | None = load_release(store, name, pointer.release) if pointer else None
    spec = EncoderSpec.from_json(release.spec) if release else None
    return {
        "space": space,
        "owner": release.owner if release else owner,
        "description": release.description if release else "",
        "release": pointer.release if pointer else None,
        "releases": numbers(store, name),
        "promoted_at": pointer.promoted_at if pointer else None,
        "rows": release.rows if release else None,
        "dim": spec.dim if spec else None,
        "modality": spec.modality if spec else None,
        "metric": spec.metric if spec else None,
        "encoder": spec.label if spec else "",
        "trained": spec.trained if spec else None,
        "fingerprint": release.fingerprint if release else None,
        "rejects": release.rejects["rows"] if release and release.rejects else 0,
        "ledger": dict(release.ledger) if release else None,
        "gates": [dict(gate) for gate in release.gates] if release else None,
        "lancedb": f"{store.root}/lancedb/{name.table}.lance" if release else None,
    }
