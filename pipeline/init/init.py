"""Write a first collection file for some data; never over another one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import declared_name, load_collection
from commonspace.pipeline.config.places import collections_folder
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.init.collection_text import collection_text
from commonspace.pipeline.init.draft import Draft, EncoderWishes, draft_collection
from commonspace.pipeline.init.location import Location, locate


@dataclass(frozen=True)
class Written:
    """A collection file; what its draft saw and is not sure of is empty of an earlier one."""

    collection: Collection
    seen: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether the file was written now."""
        return bool(self.seen)


def init_collection(
    path: str, name: str | None = None, wishes: EncoderWishes | None = None
) -> Written:
    """Look at some data and write a collection file for it into the folder of collection files.

    Args:
        path: a file, a folder or a glob.
        name: of the collection; by default made of the name of the file or folder.
        wishes: the encoders to use.

    Raises:
        UserMistake: the data cannot be read or encoded, or there is a collection of that name.
        EncoderError: no encoder can be used.
    """
    location = locate(path)
    draft = draft_collection(location, name, wishes or EncoderWishes())
    folder = collections_folder().resolve()
    file = folder / f"{draft.name}.toml"
    _require_free(draft, folder, file)
    text = collection_text(draft, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as sink:
        sink.write(text)
    try:
        collection = load_collection(file)
    except UserMistake:
        file.unlink()
        raise
    return Written(collection, tuple(draft.seen), tuple(draft.doubts))


def find_or_init(path: str) -> Written:
    """The collection that some data has in the folder of collection files, or a new one.

    Raises:
        UserMistake, EncoderError: as `init_collection`, or several files have the data.
    """
    location = locate(path)
    files = _files_of(location)
    if len(files) > 1:
        raise UserMistake(
            f"{len(files)} collections have this source: {', '.join(c.name for c in files)}",
            item=path,
            do="Name one of them.",
        )
    return Written(files[0]) if files else init_collection(path)


def _files_of(location: Location) -> list[Collection]:
    """The readable collections whose source is at this place."""
    found = []
    for path in sorted(collections_folder().glob("*.toml")):
        try:
            collection = load_collection(path)
        except UserMistake:
            continue
        if os.path.realpath(collection.source_uri) == os.path.realpath(location.uri):
            found.append(collection)
    return found


def _require_free(draft: Draft, folder: Path, file: Path) -> None:
    """Raises UserMistake where a file is there, or another one declares the name."""
    others = [path for path in sorted(folder.glob("*.toml")) if declared_name(path) == draft.name]
    if file.exists() or others:
        raise UserMistake(
            f"there is a collection {draft.name!r} already, and no file is written over",
            item=str(file if file.exists() else others[0]),
            do=f"Run that one: `commonspace run {draft.name}`; or give another name: --name NAME.",
        )
