"""A folder of texts and images; the same stem pairs a text and an image into one item."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.files import SourceFile, find_files, base_folder, has_wildcard
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord

ANY = "*"


class FolderSource:
    """Items are files, read recursively; hidden files and links to folders are left out.

    The path starts below `uri`, or below its first wildcard or `{partition}`: files of two
    folders that one `uri` names are two items.

    pair: True: the id is the path without its suffix, and a text and an image of one stem
        are one item; False: the id is the whole path, and every file is an item of its own.
    A suffix list that holds "*" takes every file that the other list does not name.
    """

    def __init__(
        self, uri: str, text_suffixes: Sequence[str], image_suffixes: Sequence[str], *, pair: bool
    ) -> None:
        self._uri, self._pair = uri, pair
        self._texts = {suffix.lower() for suffix in text_suffixes}
        self._images = {suffix.lower() for suffix in image_suffixes}

    def scan(self, scope: Scope) -> Iterator[Record | UnreadableRecord]:
        for found in find_files(self._uri, scope):
            if not found.path.is_dir():
                raise SourceNotFound("is not a folder", item=str(found.path))
            root = Path(base_folder(self._uri)) if has_wildcard(self._uri) else found.path
            yield from self._folder(root, found)

    def load(self, locators: Sequence[str]) -> Iterator[Record | UnreadableRecord]:
        for locator in locators:
            root, *names = locator.split("\0")
            yield self._row(Path(root), names, None)

    def _folder(self, root: Path, found: SourceFile) -> Iterator[Record | UnreadableRecord]:
        """One folder's items; `names` of one id are at most a text and an image."""
        items: dict[str, dict[str, str]] = {}
        for name in _walk(found.path, root):
            kind = self._kind(name)
            if kind is None:
                continue
            item_id = _stem(name) if self._pair else name
            if kind in items.setdefault(item_id, {}):
                other = items[item_id][kind]
                message = f'{name} and {other} share a stem; `id = "path"` keeps both'
                failure = Failure(Reason.DUPLICATE_ID, message)
                yield UnreadableRecord(name, name, failure, found.partition, item_id)
            else:
                items[item_id][kind] = name
        for names in items.values():
            yield self._row(root, sorted(names.values()), found.partition)

    def _row(self, root: Path, names: Sequence[str], partition: str | None) -> Record:
        kinds = {self._kind(name): root / name for name in names}
        item_id = _stem(names[0]) if self._pair else names[0]
        values = {"id": item_id, "text": kinds.get("text"), "image": kinds.get("image")}
        return Record("\0".join([str(root), *names]), " + ".join(names), values, partition)

    def _kind(self, name: str) -> str | None:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in self._texts or (ANY in self._texts and suffix not in self._images):
            return "text"
        return "image" if suffix in self._images or ANY in self._images else None


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _walk(top: Path, root: Path) -> Iterator[str]:
    """Every visible file below `top` as a path below `root`, sorted."""

    def refuse(error: OSError) -> None:
        raise SourceNotFound(f"cannot be listed: {error.strerror}", item=str(error.filename))

    for folder, subfolders, files in os.walk(top, onerror=refuse):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield (Path(folder) / name).relative_to(root).as_posix()
