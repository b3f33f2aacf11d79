"""Which files a record may name, and reading one of them."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

from commonspace.encoders.protocol import Failure, Reason, beyond_limit
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import LimitsSection

_NAMES_NO_FILE = (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What a path that no file can have fails with."""


def too_large(what: str, max_bytes: int) -> Failure:
    """The failure of a file, or of a content that stands for one, with more bytes than it may."""
    return beyond_limit(Reason.TOO_LARGE, f"{what} has too many bytes", "max_file_bytes", max_bytes)


@dataclass(frozen=True)
class FileAccess:
    """The files that records may name: those below a root, links followed.

    Attributes:
        image_root: the folder that paths are relative to; None: that of the table's file.
        link_roots: further folders that paths and links may lead into.
        limits: how much of a file is read.
    """

    image_root: str | None = None
    link_roots: tuple[str, ...] = ()
    limits: LimitsSection = field(default_factory=LimitsSection)

    @classmethod
    def of(cls, collection: Collection) -> FileAccess:
        """The access that a collection file grants."""
        source = collection.source
        return cls(source.image_root, source.link_roots, collection.limits)

    @property
    def max_bytes(self) -> int:
        """The largest content of an item."""
        return self.limits.max_file_bytes

    def root(self, folder: str) -> Path:
        """The folder that a record's paths are relative to, links followed."""
        return self.real_folder(self.image_root or folder)

    def resolve(self, folder: str, value: str) -> Path | None:
        """The file that a path means, links followed; None where it lies outside of every root.

        Args:
            folder: that of the table's file.
            value: the path.
        """
        root = self.root(folder)
        try:
            path = (root / value).resolve()
        except (OSError, ValueError, RuntimeError):
            return None
        return path if self.allows(path, root) else None

    def allows(self, path: Path, root: Path) -> bool:
        """Whether a path without links lies below the root, or below one of `link_roots`."""
        return path.is_relative_to(root) or any(map(path.is_relative_to, self._link_roots))

    def read(self, path: Path, shown: str = "") -> bytes | Failure:
        """The bytes of a file, or why there are none.

        Args:
            path: the file, links followed.
            shown: what a message calls it; by default the last part of its path.
        """
        shown = shown or repr(path.name)
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could block forever
                return Failure(Reason.MISSING_CONTENT, f"{shown} is not a file")
            if path.stat().st_size > self.max_bytes:
                return too_large(shown, self.max_bytes)
            return path.read_bytes()
        except FileNotFoundError:
            return Failure(Reason.MISSING_CONTENT, f"there is no file {shown}", True)
        except OSError as error:
            reason = Reason.SOURCE_UNREADABLE
            can_change = error.errno not in _NAMES_NO_FILE
            return Failure(reason, error.strerror or str(error), retryable=can_change)

    @cached_property
    def real_folder(self) -> Callable[[str], Path]:
        """A folder with its links followed; records by the thousand ask for the same one."""
        return lru_cache(maxsize=64)(lambda folder: Path(folder).resolve())

    @cached_property
    def _link_roots(self) -> tuple[Path, ...]:
        return tuple(map(self.real_folder, self.link_roots))
