"""Walk a folder: every visible file once, and a notice of whatever is passed over.

A linked folder is walked through its link, unless its files are offered under their own path or
through an earlier link: no file is offered twice by accident, and a walk ends, whatever the links.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.conversion.text import printable
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.notices import Notice, NoticeKind

HIDDEN_FILE, HIDDEN_FOLDER = "hidden file", "hidden folder"
LINK_OUTSIDE = "link to a folder outside of the source; `link_roots` allows it"
LINK_TO_OFFERED = "link to a folder whose files are offered under their own path"
LINK_AGAIN = "link to a folder that another link leads to"
LINK_UPWARD = "link to a folder that holds the source"


@dataclass(frozen=True)
class FollowRule:
    """Which links are followed.

    Attributes:
        access: names further folders that links may lead into.
        roots: the folders of the source, links followed: what lies below is inside.
        offered: gives the folders that walks begin at, whatever the scope of this one. It is asked
            where there is a link to a folder, as there may be thousands of partitions.
    """

    access: FileAccess
    roots: tuple[Path, ...]
    offered: Callable[[], Sequence[Path]]

    def is_inside(self, path: Path) -> bool:
        """Whether a link may lead to this path, which has no link in it."""
        return any(self.access.allows(path, root) for root in self.roots)

    def is_offered(self, folder: Path) -> bool:
        """Whether the folder's files are found without any link."""
        return any(
            not any(part.startswith(".") for part in folder.relative_to(top).parts)
            for top in self.offered()
            if folder.is_relative_to(top)
        )

    def holds_the_source(self, folder: Path) -> bool:
        """Whether a walk of the folder would come back to where it began."""
        return any(top.is_relative_to(folder) for top in self.offered())


@dataclass
class FolderWalk:
    """One walk of the folder `top`, with names relative to `root`."""

    top: Path
    root: Path
    rule: FollowRule
    _followed: set[Path] = field(default_factory=set)

    @cached_property
    def _prefix(self) -> str:
        return os.path.join(self.root, "")  # noqa: PTH118 - a path ends in no /

    def __iter__(self) -> Iterator[str | Notice]:
        """The name of each file, sorted within its folder, and a notice for each other thing.

        Raises:
            SourceNotFound: a folder cannot be listed.
        """
        waiting: list[tuple[str, bool]] = [(str(self.top), False)]
        while waiting:
            folder, is_linked = waiting.pop()
            subfolders = []
            for entry in _entries(folder):
                if entry.name.startswith("."):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    yield self._left_out(HIDDEN_FOLDER if is_folder else HIDDEN_FILE, entry.path)
                elif not _is_folder(entry):
                    yield self._name(entry.path)
                else:
                    is_linked_too = is_linked or entry.is_symlink()
                    about = self._why_passed_over(entry.path) if is_linked_too else ""
                    if about:
                        yield self._left_out(about, entry.path)
                    else:
                        subfolders.append((entry.path, is_linked_too))
            waiting += reversed(subfolders)

    def _why_passed_over(self, folder: str) -> str:
        """Why a folder that a link leads to is not walked, or nothing where it is."""
        real = Path(os.path.realpath(folder))
        if not self.rule.is_inside(real):
            return LINK_OUTSIDE
        if self.rule.is_offered(real):
            return LINK_TO_OFFERED
        if self.rule.holds_the_source(real):
            return LINK_UPWARD
        if real in self._followed:
            return LINK_AGAIN
        self._followed.add(real)
        return ""

    def _left_out(self, about: str, path: str) -> Notice:
        return left_out(about, self._name(path))

    def _name(self, path: str) -> str:
        return path.removeprefix(self._prefix)


def left_out(about: str, name: str) -> Notice:
    """The notice of a file that is no item."""
    return Notice(NoticeKind.LEFT_OUT, printable(about), printable(name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _entries(folder: str) -> Sequence[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceNotFound(f"cannot be listed: {error.strerror}", item=folder) from error
