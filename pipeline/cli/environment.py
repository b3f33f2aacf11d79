"""What the verbs find around them: the warehouse, the collection files, the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from commonspace.pipeline.cli.output import log
from commonspace.pipeline.config.places import collections_folder, warehouse_address
from commonspace.pipeline.errors import UserMistake

if TYPE_CHECKING:
    from commonspace.pipeline.config.collection import Collection
    from commonspace.pipeline.storage.store import Store

CHECKOUT = Path(__file__).resolve().parents[2]
"""The repository, unless this is installed from a wheel. `resolve` follows the package's links."""


def open_warehouse() -> Store:
    """The store that COMMONSPACE_WAREHOUSE names."""
    from commonspace.pipeline.storage.store import open_store  # Arrow, which `--help` needs not

    return open_store(warehouse_address())


def find_collection(name: str) -> Collection:
    """The declared collection of that name, or the one in the file at that path.

    Raises:
        UserMistake: as `config.files.find_collection`.
    """
    from commonspace.pipeline.config import files  # pydantic's models, which readers need not

    return files.find_collection(name)


def readable_collections() -> list[Collection]:
    """The collections whose files can be read; what is wrong with the others is logged."""
    from commonspace.pipeline.config.files import collection_files, load_collection

    collections = []
    for path in collection_files() if collections_folder().is_dir() else ():
        try:
            collections.append(load_collection(path))
        except UserMistake as error:
            log(str(error))
    return collections
