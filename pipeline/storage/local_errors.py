"""What an error of the file system means: whether to try again, and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commonspace.pipeline.errors import ContractBroken, StoreFailed

_ADVICE = {
    errno.ENOSPC: (True, "The disk is full: free space, then run again; finished work is kept."),
    errno.EDQUOT: (True, "The quota is used up: free space, then run again."),
    errno.EACCES: (False, "Permission is missing: let this user write to the warehouse."),
    errno.EPERM: (False, "Permission is missing: let this user write to the warehouse."),
    errno.ENOTDIR: (False, "A file stands where a folder belongs: move it away."),
    errno.EROFS: (False, "The file system is read-only: set COMMONSPACE_WAREHOUSE elsewhere."),
}
"""By error number: whether retrying helps, and what to do."""


@contextmanager
def translating_os_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of the block into an error of ours that names the path.

    Raises:
        ContractBroken: a folder stands where a file belongs.
        StoreFailed: the disk failed, or may not be used.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.EISDIR, None} and path.is_dir():  # Arrow's have no number
            raise ContractBroken(
                "is a folder, where a file belongs",
                item=str(path),
                do="Something other than commonspace has put it there: move it away, and restore "
                "the file from a copy.",
            ) from error
        retry, do = _ADVICE.get(error.errno or 0, (True, "Look at the disk, then run again."))
        reason = os.strerror(error.errno) if error.errno else str(error)
        what = f"the warehouse failed: {reason}"
        raise StoreFailed(what, item=str(path), retry=retry, do=do) from error
