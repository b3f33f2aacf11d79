"""Which column of a table holds images, as what, and where their files are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from commonspace.pipeline.init.columns import Column
from commonspace.pipeline.init.location import IMAGES
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.images.inline import (
    begins_as_an_image,
    is_data_address,
    looks_like_an_image,
)
from commonspace.pipeline.source.images.value import is_image_struct

ASKED_PATHS = 50
"""How many of a column's paths are looked for."""
Form = Literal["bytes", "text", "path", "address"]
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ImageColumn:
    """A column of images.

    Attributes:
        name: of the column.
        is_path: whether its values name files.
        root: the folder that they are relative to, if not that of the table.
        doubts: what is wrong with some of them.
    """

    name: str
    is_path: bool = False
    root: str | None = None
    doubts: tuple[str, ...] = ()


def find_image_column(
    columns: Mapping[str, Column], folder: str, folders: Sequence[str]
) -> tuple[ImageColumn | None, tuple[str, ...]]:
    """The column that holds images, and doubts about others.

    Args:
        columns: by their names.
        folder: that of the table.
        folders: where the files of paths may be.
    """
    found, doubts = list[ImageColumn](), list[str]()
    for column in columns.values():
        form = _form_of(column)
        if form == "address":
            doubts.append(
                f"{column.name!r} holds addresses of images, which are never fetched: download "
                "them and name their paths"
            )
        elif form == "path":
            located = _located(column, folder, folders)
            if located is None:
                doubts.append(f"{column.name!r} names image files, none of which is found")
            else:
                found.append(located)
        elif form is not None:
            found.append(ImageColumn(name=column.name))
    if len(found) > 1:
        doubts.append(f"{', '.join(repr(c.name) for c in found[1:])} holds images, too")
    return (found[0] if found else None), tuple(doubts)


def _form_of(column: Column) -> Form | None:
    """How most of its values stand for images; None where they do not."""
    forms = Counter(form for value in column.values if (form := _form_of_value(value)))
    is_usual = forms.total() * 2 > len(column.values)
    return forms.most_common(1)[0][0] if is_usual else None


def _form_of_value(value: Any) -> Form | None:
    if isinstance(value, Mapping) and is_image_struct(value):
        content = value.get("bytes")
        return _form_of_value(value.get("path") if content is None else content)
    if isinstance(value, bytes):
        return "bytes" if begins_as_an_image(value) else None
    if not isinstance(value, str):
        return None
    if is_data_address(value) or looks_like_an_image(value):
        return "text"
    if PurePath(value.strip().replace("\\", "/")).suffix.lower() not in IMAGES:
        return None
    return "address" if _ADDRESS.match(value) and not value.startswith("file:") else "path"


def _located(column: Column, folder: str, folders: Sequence[str]) -> ImageColumn | None:
    values = [value for value in column.values if _form_of_value(value) == "path"][:ASKED_PATHS]
    paths = [value if isinstance(value, str) else value["path"] for value in values]
    counts = {root: _count(paths, root) for root in (folder, *folders)}
    best = max(counts, key=lambda root: counts[root])
    if not counts[best]:
        return None
    missing = len(paths) - counts[best]
    return ImageColumn(
        name=column.name,
        is_path=True,
        root=None if best == folder else best,
        doubts=(f"{missing} of {len(paths)} files of {column.name!r} are missing",)
        if missing
        else (),
    )


def _count(paths: Sequence[str], root: str) -> int:
    """How many of the paths name a file below the folder."""
    access = FileAccess(image_root=root)
    found = 0
    for path in paths:
        spelled = path.strip().replace("\\", "/").removeprefix("file://")
        located = access.resolve(root, path) or access.resolve(root, spelled)
        is_file = located is not None and Path(located).is_file()
        found += is_file or Path(root, spelled).is_file()
    return found
