"""The folder in which this machine keeps what would take long to make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """COMMONSPACE_CACHE, else `commonspace` in XDG_CACHE_HOME or in ~/.cache.

    None where the user has no home folder. The folder need not exist.
    """
    setting, xdg_cache = os.environ.get("COMMONSPACE_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if setting:
        return Path(setting).absolute()
    if Path(xdg_cache).is_absolute():
        return Path(xdg_cache) / "commonspace"
    try:
        return Path.home() / ".cache" / "commonspace"
    except RuntimeError:
        return None
