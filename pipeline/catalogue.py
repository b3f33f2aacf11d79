"""The catalogue: every space that is declared or published, and the state it is in."""

from __future__ import annotations

from typing import Any

from encoders.spec import EncoderSpec
from pipeline.config import Collection
from pipeline.contract import SpaceName
from pipeline.errors import NotPublished, near
from pipeline.records import Release
from pipeline.releases import current, load_release, numbers
from pipeline.retire import retirement
from pipeline.space_versions import published_versions
from pipeline.store import Store


def catalogue(
    store: Store, collections: list[Collection], name: str | None = None
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
    return [_entry(store, space, declared.get(space, "")) for space in chosen(names, name)]


def chosen(names: list[str], name: str | None) -> list[str]:
    """Those of the space versions that a collection, a space or a version names; all for None.

    Raises NotPublished where the name matches nothing.
    """
    found = [n for n in names if name is None or n == name or n.startswith(f"{name}/")]
    if name is not None and not found:
        raise NotPublished(f"there is no {name!r}" + near(name, names))
    return found


def _published(store: Store) -> list[str]:
    spaces = [(c, s) for c in store.folders("") if "." not in c for s in store.folders(c)]
    return [f"{c}/{s}/v{n}" for c, s in spaces for n in published_versions(store, c, s)]


def _entry(store: Store, space: str, owner: str) -> dict[str, Any]:
    collection, short, version = space.split("/")
    name = SpaceName(collection, short, int(version[1:]))
    pointer, retired = current(store, name), retirement(store, name)
    release: Release | None = load_release(store, name, pointer.release) if pointer else None
    spec = EncoderSpec.from_json(release.spec) if release else None
    return {
        "space": space,
        "owner": release.owner if release else owner,
        "description": release.description if release else "",
        "release": pointer.release if pointer else None,
        "releases": numbers(store, name),
        "retired": str(retired) if retired else None,
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
        "lancedb": f"{store.address}/lancedb/{name.table}.lance" if release else None,
    }
