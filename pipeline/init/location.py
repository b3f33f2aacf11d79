"""What lies at a path: a table, a folder with tables of one kind, or one of texts and images."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.init.file_kinds import (
    IMAGES,
    TEXTS,
    Kind,
    file_suffixes,
    kind_by_name,
    table_kind,
)
from commonspace.pipeline.source.files import (
    PLACEHOLDER,
    find_files,
    has_wildcard,
)
from commonspace.pipeline.source.records import EVERYTHING

MOST_ENTRIES = 100_000
"""Files of a folder that are looked at by name."""
MOST_FOLDERS = 100
"""Folders in which the images of a table are looked for."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """A source that can be described.

    Attributes:
        kind: of the source.
        uri: an absolute path or glob, perhaps with `{partition}`.
        files: of a table: those that `uri` names; of a folder: its texts and images.
        image_folders: of a table: folders near it that hold images.
        seen: what is there.
        doubts: what else might have been meant.
    """

    kind: Kind
    uri: str
    files: tuple[Path, ...]
    image_folders: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def locate(path: str) -> Location:
    """What is at a path.

    Args:
        path: a file, a folder, or a glob, which may have `{partition}` in it.

    Raises:
        SourceNotFound: there is nothing, or nothing that is text, an image or a table.
        UserMistake: it cannot be written as a `uri`.
    """
    absolute = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - links stay
    if Path(absolute).is_dir():
        return _of_folder(absolute)
    if Path(absolute).exists():
        return _of_files(table_kind(Path(absolute)), _as_uri(absolute), near=Path(absolute).parent)
    if has_wildcard(path):
        files = _files_of(absolute)
        return _of_files(table_kind(files[0]), absolute, near=files[0].parent)
    raise SourceNotFound(
        "there is no such file or folder", item=path, do="Correct the path; a glob needs quotes."
    )


def _of_files(kind: Kind, uri: str, *, near: Path, doubts: Sequence[str] = ()) -> Location:
    files = _files_of(uri)
    size = sum(map(size_of, files))
    many = f"{len(files):,} {kind} files" if len(files) > 1 else f"one {kind} file"
    return Location(
        kind=kind,
        uri=uri,
        files=files,
        image_folders=_image_folders(near),
        seen=(f"{many} of {size / 1e6:,.1f} MB" if size >= 1e5 else f"{many} of {size:,} bytes",),
        doubts=tuple(doubts),
    )


def _files_of(uri: str) -> tuple[Path, ...]:
    """The files that a glob names. Raises SourceNotFound where there are none."""
    files = tuple(file.path for file in find_files(uri, EVERYTHING) if file.path.is_file())
    if not files:
        do = "Name a folder, a file, or a glob for the files of tables."
        raise SourceNotFound("there is no such file", item=uri, do=do)
    return files


def size_of(path: Path) -> int:
    """The bytes of a file; 0 where it has gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _of_folder(folder: str) -> Location:
    tables: dict[Kind, list[str]] = defaultdict(list)
    texts, images, others = list[str](), list[str](), Counter[str]()
    doubts = []
    for number, name in enumerate(_files_below(folder)):
        if number == MOST_ENTRIES:
            doubts.append(f"only the first {MOST_ENTRIES:,} files were looked at")
            break
        suffix = PurePath(name).suffix.lower()
        if kind := kind_by_name(name):
            tables[kind].append(name)
        elif suffix in TEXTS:
            texts.append(name)
        elif suffix in IMAGES:
            images.append(name)
        else:
            others[suffix or "none"] += 1
    if tables and not _is_album(tables, texts, images):
        return _tables_of_folder(folder, tables, len(texts) + len(images), doubts)
    if not texts and not images:
        found = ", ".join(f"{count:,} of suffix {name}" for name, count in others.most_common(5))
        raise SourceNotFound(
            f"holds no text, image or table that is known by its suffix ({found or 'no file'})",
            item=folder,
            do="Name a file, or write the collection file by hand: docs/collections.md.",
        )
    left_out = [*others.elements(), *(name for names in tables.values() for name in names)]
    if left_out:
        doubts.append(f"{len(left_out):,} files are neither text nor image and are left out")
    return Location(
        kind="folder",
        uri=_as_uri(folder),
        files=tuple(Path(folder, name) for name in [*texts, *images]),
        seen=(f"a folder with {len(texts):,} texts and {len(images):,} images",),
        doubts=tuple(doubts),
    )


def _is_album(
    tables: Mapping[Kind, Sequence[str]], texts: Sequence[str], images: Sequence[str]
) -> bool:
    """Whether the files themselves are the items: tables that describe images lie above them."""
    table_folders = {str(PurePath(name).parent) for names in tables.values() for name in names}
    depth = min(len(PurePath(name).parents) for names in tables.values() for name in names)
    nested = sum(len(PurePath(name).parents) > depth for name in images)
    beside = sum(str(PurePath(name).parent) in table_folders for name in [*texts, *images])
    return beside > 10 * sum(map(len, tables.values())) and nested < len(images) / 2


def _tables_of_folder(
    folder: str, tables: Mapping[Kind, Sequence[str]], others: int, doubts: Sequence[str]
) -> Location:
    sizes = {
        kind: sum(size_of(Path(folder, name)) for name in names) for kind, names in tables.items()
    }
    kind = max(sizes, key=lambda kind: sizes[kind])
    doubts = list(doubts)
    for other, names in tables.items():
        if other != kind:
            doubts.append(f"{len(names):,} {other} files are left out: a source has one kind")
    if others:
        doubts.append(f"{others:,} texts and images are read only where the table names them")
    uri = _pattern(folder, tables[kind])
    location = _of_files(kind, uri, near=Path(folder), doubts=doubts)
    if len(location.files) != len(tables[kind]):
        problem = f"uri names {len(location.files):,} files of {len(tables[kind]):,} {kind} files"
        return Location(**{**location.__dict__, "doubts": (*location.doubts, problem)})
    return location


def _pattern(folder: str, names: Sequence[str]) -> str:
    """A path or glob for files of one kind: `f/a.csv`, `f/*.csv`, `f/{partition}/*.csv` …"""
    if len(names) == 1:
        return _as_uri(str(Path(folder, names[0])))
    suffix = Counter("".join(file_suffixes(name)) for name in names).most_common(1)[0][0]
    files = f"*{glob.escape(suffix)}"
    parents = {str(PurePath(name).parent) for name in names}
    if parents == {"."}:
        return f"{_as_uri(folder)}/{files}"
    if prefix := _partition_prefix(parents):
        return f"{_as_uri(folder)}/{prefix[0]}{PLACEHOLDER}/{files}"
    return f"{_as_uri(folder)}/**/{files}"


def _partition_prefix(folders: set[str]) -> tuple[str] | None:
    """What stands before the hour, day or month that each folder is named by; None elsewhere."""
    matches = [re.fullmatch(r"([\w-]*=)?([\dT-]+)", folder) for folder in folders]
    prefixes = {match[1] or "" for match in matches if match}
    if not all(matches) or len(prefixes) != 1:
        return None
    for cadence in CADENCES.values():
        try:
            for match in matches:
                cadence.partition_start(match[2] if match else "")
        except ValueError:
            continue
        return (prefixes.pop(),)
    return None


def _files_below(folder: str) -> Iterator[str]:
    """Paths of the files below a folder, in order; neither hidden ones nor links to folders."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.relpath(str(Path(parent, name)), folder)


def _image_folders(near: Path) -> tuple[str, ...]:
    """The folder of a table, and folders in it or beside it."""
    found: list[str] = []
    for parent in dict.fromkeys([near, near.parent]):
        with suppress(OSError), os.scandir(parent) as entries:
            visible = (entry for entry in entries if not entry.name.startswith("."))
            found += sorted(entry.path for entry in visible if entry.is_dir())[:MOST_FOLDERS]
    return tuple(dict.fromkeys([str(near), *found]))


def _as_uri(path: str) -> str:
    """The path as a glob that means just this one.

    Raises:
        UserMistake: there is none.
    """
    if PLACEHOLDER in path:
        raise UserMistake(
            f"{PLACEHOLDER} in a name cannot be written as a uri", item=path, do="Rename it."
        )
    return glob.escape(path)
