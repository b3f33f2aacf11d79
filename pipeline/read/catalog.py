"""The catalogue: every space that is declared or published, and the state it is in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.layout import report_suffix, runs_folder, table_address
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished, did_you_mean
from commonspace.pipeline.read.versions import published_versions
from commonspace.pipeline.release.manifest import Release, load_release, release_numbers
from commonspace.pipeline.release.pointer import Current, load_current, require_pointer
from commonspace.pipeline.release.retirement import Retirement, load_retirement
from commonspace.pipeline.storage.store import Store


def catalog(
    store: Store, collections: list[Collection], name: str | None = None
) -> list[dict[str, Any]]:
    """One entry a space version, by name; `name` keeps a collection, a space or a version.

    A space whose pointer, manifest or mark is damaged has `problem`. Raises NotPublished where the
    name matches nothing.
    """
    declared = {
        str(SpaceName(c.name, s.name, s.version)): c.collection.owner
        for c in collections
        for s in c.space
    }
    names = sorted(declared.keys() | set(_published(store)))
    return [_entry(store, space, declared.get(space, "")) for space in matching_names(names, name)]


def matching_names(names: list[str], name: str | None) -> list[str]:
    """Those of the space versions that a collection, a space or a version names; all for None.

    Raises NotPublished where the name matches nothing.
    """
    found = [n for n in names if name is None or n == name or n.startswith(f"{name}/")]
    if name is not None and not found:
        raise NotPublished(f"there is no {name!r}" + did_you_mean(name, names))
    return found


def _published(store: Store) -> list[str]:
    spaces = [(c, s) for c in store.folders("") if "." not in c for s in store.folders(c)]
    return [f"{c}/{s}/v{n}" for c, s in spaces for n in published_versions(store, c, s)]


def _entry(store: Store, space: str, owner: str) -> dict[str, Any]:
    name = SpaceName.parse(space)
    pointer: Current | None = None
    retired: Retirement | None = None
    release: Release | None = None
    problem = None
    try:
        require_pointer(store, name)
        retired, pointer = load_retirement(store, name), load_current(store, name)
        release = load_release(store, name, pointer.release) if pointer else None
    except ContractBroken as error:
        problem = f"{error.item}: {error.what}"
    spec = EncoderSpec.from_json(release.spec) if release else None
    return {
        "space": space,
        "owner": release.owner if release else owner,
        "description": release.description if release else "",
        "release": pointer.release if pointer else None,
        "releases": release_numbers(store, name),
        "retired": str(retired) if retired else None,
        "problem": problem,
        "held": pointer.held if pointer else None,
        "promoted_at": pointer.promoted_at if pointer else None,
        "confirmed_at": confirmed_at(store, name) if pointer else None,
        "rows": release.rows if release else None,
        "dim": spec.dim if spec else None,
        "modality": spec.modality if spec else None,
        "metric": spec.metric if spec else None,
        "encoder": spec.label if spec else "",
        "trained": spec.trained if spec else None,
        "fingerprint": release.fingerprint if release else None,
        "rejects": release.rejects["rows"] if release and release.rejects else 0,
        "ledger": dict(release.ledger) if release else None,
        "gates": _gates(release, pointer) if release and pointer else None,
        "text_index": list(pointer.indices.text) if pointer and pointer.indices else [],
        "lancedb": table_address(store.address, name) if release else None,
    }


def _gates(release: Release, pointer: Current) -> list[dict[str, Any]]:
    """The gates of the manifest; and that of the index, which is held at promotion."""
    index = pointer.indices.vector if pointer.indices else None
    return [*(dict(gate) for gate in release.gates), *([index.to_gate()] if index else [])]


def confirmed_at(store: Store, name: SpaceName) -> str | None:
    """When the latest run whose report is kept ended with its release served; ISO 8601, UTC.

    A run that finds nothing changed confirms what is served, and promotes nothing. One of some ids
    only, as a retry of rejects is, says nothing of the rest of the source. None where no run has
    ended so: the reports of the last 20 runs are kept.
    """
    folder, end = runs_folder(name.collection), report_suffix(name)
    written = {key: at for key, at in store.list_with_mtime(folder).items() if key.endswith(end)}
    for key, at in sorted(written.items(), key=lambda pair: -pair[1]):
        data = store.read(key)
        report = json.loads(data.to_pybytes()) if data is not None else {}
        serves = report.get("state") in {"promoted", "unchanged"}
        if serves and report.get("whole_scope", False):
            return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return None
