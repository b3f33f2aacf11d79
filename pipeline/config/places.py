"""Where the environment says that things lie; asking needs none of the libraries that read them."""

from __future__ import annotations

import os
from pathlib import Path


def collections_folder() -> Path:
    """The folder of collection files: COMMONSPACE_COLLECTIONS, or `dags/collections`."""
    return Path(os.environ.get("COMMONSPACE_COLLECTIONS", "dags/collections"))


def warehouse_address() -> str:
    """Where releases are published: COMMONSPACE_WAREHOUSE, or `./warehouse`."""
    return os.environ.get("COMMONSPACE_WAREHOUSE", "./warehouse")
