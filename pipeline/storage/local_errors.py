"""What an error of the file system means: whether to try again, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonspace.pipeline.errors import StoreFailed

_ADVICE = {
    errno.ENOSPC: (True, "The disk is full: free space, then run again; finished work is kept."),
    errno.EDQUOT: (True, "The quota is used up: free space, then run again."),
    errno.EACCES: (False, "Permission is missing: let this user write to the warehouse."),
    errno.EPERM: (False, "Permission is missing: let this user write to the warehouse."),
    errno.EROFS: (False, "The file system is read-only: set COMMONSPACE_WAREHOUSE elsewhere."),
}
"""By error number: whether retrying helps, and what to do."""


@contextmanager
def translating_os_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of the block into a StoreFailed that names the path and says what to do."""
    try:
        yield
    except OSError as error:
        retry, do = _ADVICE.get(error.errno or 0, (True, "Look at the disk, then run again."))
        what = f"the warehouse failed: {error.strerror or error}"
        raise StoreFailed(what, item=str(path), retry=retry, do=do) from error
