"""Which column of a table holds images, as what, and where their files are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.init.columns import Column
from commonspace.pipeline.init.file_kinds import IMAGES
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.images.inline import (
    begins_as_an_image,
    is_data_address,
    looks_like_an_image,
)
from commonspace.pipeline.source.images.value import is_image_struct, read_image_value

ASKED_VALUES = 50
"""How many of a column's images are read."""
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
        elif form is not None:
            located = _located(column, form, folder, folders)
            if located is None:
                doubts.append(f"{column.name!r} names image files, none of which is found")
            else:
                found.append(located)
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


def _located(column: Column, form: Form, folder: str, folders: Sequence[str]) -> ImageColumn | None:
    """The column, with the folder from which most of its values can be read; None if none can."""
    values = column.values[:ASKED_VALUES]
    roots = [folder, *folders] if form == "path" else [folder]
    failures = {root: _failures(values, folder, root) for root in roots}
    best = min(failures, key=lambda root: len(failures[root]))
    lost = failures[best]
    if len(lost) == len(values):
        return None
    doubt = f"{len(lost)} of {len(values)} images of {column.name!r} cannot be read"
    return ImageColumn(
        name=column.name,
        is_path=form == "path",
        root=None if best == folder else best,
        doubts=(f"{doubt}: {lost[0].message}",) if lost else (),
    )


def _failures(values: Sequence[Any], folder: str, root: str) -> list[Failure]:
    """Why some of the values stand for no image, with the paths below a folder."""
    access = FileAccess(image_root=root)
    read = (read_image_value(value, folder, access) for value in values)
    return [found for found in read if isinstance(found, Failure)]
