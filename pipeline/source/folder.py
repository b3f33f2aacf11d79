"""A folder of texts and images; a text and an image of the same stem are one item."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.extents import AtEnd, Extent, ignore
from commonspace.pipeline.source.files import SourceFile, base_folder, find_files, has_wildcard
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

ANY_SUFFIX = "*"


class FolderSource:
    """Items are files, found recursively; hidden files and links to folders are left out.

    An id is a path below `uri`, or below the folder above its first wildcard or `{partition}`:
    equally named files of two folders are two items.

    text_suffixes, image_suffixes: with their dot; "*" takes every file that the other list does
        not name.
    pair: whether the id is the path without its suffix, so that a text and an image of one stem
        are one item; otherwise it is the whole path, and every file is an item of its own.
    """

    def __init__(
        self, uri: str, text_suffixes: Sequence[str], image_suffixes: Sequence[str], *, pair: bool
    ) -> None:
        self._uri, self._pair = uri, pair
        self._text_suffixes = {suffix.lower() for suffix in text_suffixes}
        self._image_suffixes = {suffix.lower() for suffix in image_suffixes}

    def scan(self, scope: Scope, at_end: AtEnd = ignore) -> Iterator[Record | UnreadableRecord]:
        for folder in find_files(self._uri, scope):
            if not folder.path.is_dir():
                raise SourceNotFound(
                    "is not a folder",
                    item=str(folder.path),
                    do="The `uri` of a source of kind `folder` must match folders only.",
                )
            root = Path(base_folder(self._uri)) if has_wildcard(self._uri) else folder.path
            yield from self._records(root, folder, at_end)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        for locator in locators:
            root, *names = locator.split("\0")
            yield self._record(Path(root), names, None)

    def _records(
        self, root: Path, folder: SourceFile, at_end: AtEnd
    ) -> Iterator[Record | UnreadableRecord]:
        """The items of one folder; each has at most one file of a kind, `text` or `image`."""
        items: dict[str, dict[str, str]] = {}
        for name in _visible_files(folder.path, root):
            kind = self._kind(name)
            if kind is None:
                continue
            item_id = _stem(name) if self._pair else name
            if kind in items.setdefault(item_id, {}):
                other = items[item_id][kind]
                message = f'{name} and {other} share a stem; `id = "path"` keeps both'
                failure = Failure(Reason.DUPLICATE_ID, message)
                yield UnreadableRecord(name, name, failure, folder.partition, item_id)
            else:
                items[item_id][kind] = name
        for names in items.values():
            yield self._record(root, sorted(names.values()), folder.partition)
        for name in _folders_above(items):
            at_end(Extent(name))

    def _record(self, root: Path, names: Sequence[str], partition: str | None) -> Record:
        paths = {self._kind(name): root / name for name in names}
        item_id = _stem(names[0]) if self._pair else names[0]
        values = {"id": item_id, "text": paths.get("text"), "image": paths.get("image")}
        return Record("\0".join([str(root), *names]), " + ".join(names), values, partition)

    def _kind(self, name: str) -> str | None:
        suffix = PurePosixPath(name).suffix.lower()
        texts, images = self._text_suffixes, self._image_suffixes
        if suffix in texts or (ANY_SUFFIX in texts and suffix not in images):
            return "text"
        return "image" if suffix in images or ANY_SUFFIX in images else None


def _folders_above(items: Iterable[str]) -> list[str]:
    """Every folder that has one of the items below it, `.` for the base, sorted."""
    direct = {name.rpartition("/")[0] for name in items}
    return sorted({str(folder) for name in direct for folder in PurePosixPath(name, "x").parents})


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _visible_files(top: Path, root: Path) -> Iterator[str]:
    """Every visible file below `top` as a path below `root`, sorted."""

    def refuse(error: OSError) -> None:
        raise SourceNotFound(f"cannot be listed: {error.strerror}", item=str(error.filename))

    for folder, subfolders, files in os.walk(top, onerror=refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()
