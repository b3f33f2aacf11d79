"""The catalog: every space that is declared or published, and the state it is in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.layout import report_suffix, runs_folder, table_address
from commonspace.pipeline.contract.name import SpaceName, is_name
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.errors import ContractBroken, NotPublished, StoreFailed, did_you_mean
from commonspace.pipeline.read.space_versions import published_versions
from commonspace.pipeline.release.manifest import Release, load_release, release_numbers
from commonspace.pipeline.release.markers.retirement import Retirement, load_retirement
from commonspace.pipeline.release.pointer import Current, load_current, require_pointer
from commonspace.pipeline.storage.store import Store


def list_spaces(
    store: Store, collections: list[Collection], name: str | None = None
) -> list[dict[str, Any]]:
    """One entry for each version of a space, sorted by name; `show --json` prints them.

    Args:
        store: the warehouse.
        collections: those that are declared; what is only published is listed, too.
        name: only this collection, space or version.

    Returns:
        the entries. One whose pointer, manifest or retirement is damaged says so in `problem`.

    Raises:
        NotPublished: the name matches nothing.
    """
    owners = {
        str(SpaceName(collection.name, space.name, space.version)): collection.collection.owner
        for collection in collections
        for space in collection.space
    }
    names = sorted(owners.keys() | set(_published_names(store)))
    return [_entry(store, space, owners.get(space, "")) for space in matching_names(names, name)]


def matching_names(names: list[str], name: str | None) -> list[str]:
    """Those of the space versions that belong to a collection, space or version; all for None.

    Raises:
        NotPublished: none does.
    """
    matches = [each for each in names if name is None or f"{each}/".startswith(f"{name}/")]
    if name is not None and not matches:
        raise NotPublished(f"there is no {name!r}" + did_you_mean(name, names))
    return matches


def confirmed_at(store: Store, name: SpaceName) -> str | None:
    """When the latest run whose report is kept ended with its release served; ISO 8601, UTC.

    A run that finds nothing changed confirms what is served, and promotes nothing. A run over some
    ids only, such as a retry of rejects, says nothing about the rest of the source. None where no
    kept report (those of the last 20 runs are) confirms it.
    """
    folder, suffix = runs_folder(name.collection), report_suffix(name)
    reports = {
        key: written
        for key, written in store.list_with_mtime(folder).items()
        if key.endswith(suffix)
    }
    for key, written in sorted(reports.items(), key=lambda pair: -pair[1]):
        data = store.read(key)
        report = _report(data.to_pybytes()) if data is not None else {}
        is_served = report.get("state") in {"promoted", "unchanged"}
        if is_served and report.get("whole_scope", False):
            return datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
    return None


def _report(data: bytes) -> Mapping[str, Any]:
    """A run's report; nothing where it is damaged, for it is of the past."""
    try:
        report = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) else {}


def _published_names(store: Store) -> list[str]:
    return [
        str(SpaceName(collection, space, version))
        for collection in filter(is_name, store.folders(""))
        for space in filter(is_name, store.folders(collection))
        for version in published_versions(store, collection, space)
    ]


def _entry(store: Store, space: str, owner: str) -> dict[str, Any]:
    name = SpaceName.parse(space)
    pointer: Current | None = None
    retired: Retirement | None = None
    release: Release | None = None
    contract: Contract | None = None
    recipe: Recipe | None = None
    problem = None
    try:
        require_pointer(store, name)
        retired, pointer = load_retirement(store, name), load_current(store, name)
        contract = load_contract(store, name)
        release = load_release(store, name, pointer.release) if pointer else None
        recipe = release.recipe_as_served(contract) if release else None
    except (ContractBroken, NotPublished, StoreFailed) as error:
        if error.retry:  # the store is out of reach, with all that is in it
            raise
        release, problem = None, f"{error.item}: {error.what}"
    spec = EncoderSpec.from_json(release.spec) if release else None
    return {
        "space": space,
        "owner": release.owner if release else owner,
        "description": release.description if release else "",
        "release": pointer.release if pointer else None,
        "releases": release_numbers(store, name),
        "retired": str(retired) if retired else None,
        "problem": problem,
        "held": pointer.hold_details if pointer else None,
        "promoted_at": pointer.promoted_at if pointer else None,
        "confirmed_at": confirmed_at(store, name) if pointer else None,
        "rows": release.rows if release else None,
        "dim": spec.dim if spec else None,
        "modality": spec.modality if spec else None,
        "metric": spec.metric if spec else None,
        "encoder": spec.label if spec else "",
        "recipe": recipe.to_json() if recipe else None,
        "trained": spec.trained if spec else None,
        "fingerprint": release.fingerprint if release else None,
        "rejects": release.rejects["rows"] if release and release.rejects else 0,
        "ledger": dict(release.ledger) if release else None,
        "gates": _gates(release, pointer) if release and pointer else None,
        "text_index": list(pointer.indexes.text) if pointer and pointer.indexes else [],
        "lancedb": table_address(store.address, name) if release else None,
    }


def _gates(release: Release, pointer: Current) -> list[dict[str, Any]]:
    """The gates of the manifest, and that of the index, which is measured at promotion."""
    index = pointer.indexes.vector if pointer.indexes else None
    return [*(dict(gate) for gate in release.gates), *([index.to_gate()] if index else [])]
