"""Where the collection files are that become DAGs."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.collection_files import collection_files, load_collection
from pipeline.config import Collection
from pipeline.errors import UserMistake

FOLDER = Path(os.environ.get("COMMONSPACE_COLLECTIONS") or Path(__file__).parent / "collections")


def whole_collections() -> list[Collection]:
    """Every collection whose file can be read; the DAGs of the others say what is wrong."""
    found = []
    for path in collection_files(FOLDER):
        try:
            found.append(load_collection(path))
        except UserMistake:
            continue
    return found
