"""The checksum over the files of a table's indexes.

LanceDB keeps none: a flipped bit there silently changes the order of search results.
"""

from __future__ import annotations

import hashlib
import uuid

from commonspace.pipeline.contract.layout import table_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store


def index_files_digest(store: Store, name: SpaceName, version: int) -> str:
    """sha256 over the names and bytes of the files of the indexes of a version of the table.

    Which indexes a version has, its manifest says: it holds the 16 bytes of the UUID by which the
    folder of each index is named.

    Raises:
        ContractBroken: the manifest is missing.
    """
    table = table_folder(name)
    manifest = _manifest(store, table, version)
    is_in_version: dict[str, bool] = {}
    digest = hashlib.sha256()
    for key in store.list(f"{table}/_indices"):
        folder = key.removeprefix(f"{table}/_indices/").partition("/")[0]
        if folder not in is_in_version:
            is_in_version[folder] = _uuid_bytes(folder) in manifest
        data = store.read(key) if is_in_version[folder] else None
        if data is not None:
            digest.update(f"{key} {hashlib.sha256(data).hexdigest()}\n".encode())
    return digest.hexdigest()


def _manifest(store: Store, table: str, version: int) -> bytes:
    """Lance names a manifest by its version, or by 2**64 - 1 less the version."""
    for file in (f"{2**64 - 1 - version:020}", str(version)):
        data = store.read(f"{table}/_versions/{file}.manifest")
        if data is not None:
            return bytes(data.to_pybytes())
    raise ContractBroken(f"version {version} of the LanceDB table is gone", item=table)


def _uuid_bytes(folder: str) -> bytes:
    try:
        return uuid.UUID(folder).bytes
    except ValueError:  # not the folder of an index
        return folder.encode()
