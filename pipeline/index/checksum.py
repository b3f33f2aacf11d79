"""The files of a table's indices. LanceDB keeps no checksum of them: a flipped bit there moves
rows in an answer and says nothing.
"""

from __future__ import annotations

import hashlib
import uuid

from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store


def index_files_digest(store: Store, name: SpaceName, version: int) -> str:
    """sha256 over the names and bytes of the files that make up the version's indices.

    Which ones these are says the version's manifest: it holds the 16 bytes of the UUID that each
    index's folder is named by. Raises ContractBroken where the manifest is missing.
    """
    folder = f"lancedb/{name.table}.lance"
    manifest = _manifest(store, folder, version)
    known: dict[str, bool] = {}
    whole = hashlib.sha256()
    for key in store.list(f"{folder}/_indices"):
        place = key.removeprefix(f"{folder}/_indices/").partition("/")[0]
        if place not in known:
            known[place] = _bytes_of(place) in manifest
        data = store.read(key) if known[place] else None
        if data is not None:
            whole.update(f"{key} {hashlib.sha256(data).hexdigest()}\n".encode())
    return whole.hexdigest()


def _manifest(store: Store, folder: str, version: int) -> bytes:
    """Lance names a manifest by its version, or by how far that is below 2**64."""
    for file in (f"{2**64 - 1 - version:020}", str(version)):
        data = store.read(f"{folder}/_versions/{file}.manifest")
        if data is not None:
            return bytes(data.to_pybytes())
    raise ContractBroken(f"version {version} of the LanceDB table is gone", item=folder)


def _bytes_of(place: str) -> bytes:
    try:
        return uuid.UUID(place).bytes
    except ValueError:  # no folder of an index
        return place.encode()
