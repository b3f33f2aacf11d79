"""What a source's record means to the pipeline: its id, and its content for an encoder."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from commonspace.encoders.protocol import Content, Failure, Reason
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.images.bounds import exceeded_bound
from commonspace.pipeline.source.images.value import read_image_value
from commonspace.pipeline.source.records import Record

MAX_ID_BYTES = 4096


TEXT_RULE = "lines-nfc-1"
"""Values that are not null, and the items of lists, are joined by line breaks; then NFC.

A text or an image that is made otherwise of the same values needs another name here: spaces that
were published under this one are then refused until their owner raises the version.
"""
IMAGE_RULE = "file-bytes-1"
"""The bytes of the image's file, as they are."""


def parse_id(value: Any) -> str | Failure:
    """A stable id: a non-empty string, or an integer written as one.

    Strings are taken unchanged: nothing is trimmed, case-folded or guessed.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return Failure(Reason.BAD_ID, f"the id is {_type_of(value)}, not a string")
    if not value:
        return Failure(Reason.BAD_ID, "the id is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return Failure(Reason.BAD_ID, "the id is not valid Unicode (a lone surrogate)")
    if size > MAX_ID_BYTES:
        return Failure(Reason.BAD_ID, f"the id has {size} bytes, more than {MAX_ID_BYTES}")
    return value


def content_recipe(space: SpaceSection) -> Recipe:
    """What `read_content` makes the contents of a space of, and by which rule."""
    if space.image:
        return Recipe(image=space.image, rule=IMAGE_RULE)
    return Recipe(fields=space.fields, rule=TEXT_RULE)


def read_content(
    record: Record, space: SpaceSection, access: FileAccess
) -> Content | Failure | None:
    """The content that the space's encoder gets: a text in NFC, or the bytes of an image file.

    Returns:
        None where the record has no content for the space, a Failure where it cannot be read.
    """
    if space.image:
        image = read_image_value(record.values.get(space.image), record.folder, access)
        bad = exceeded_bound(image, access.limits) if isinstance(image, bytes) else None
        return bad or image
    texts: list[str] = []
    for field in space.fields:
        text = _read_text(record.values.get(field), field, access)
        if isinstance(text, Failure):
            return text
        if text is not None:
            texts.append(text)
    if not texts:
        return None
    content = unicodedata.normalize("NFC", "\n".join(texts))
    try:
        content.encode()
    except UnicodeEncodeError:
        return Failure(Reason.INVALID_UNICODE, "the text has a lone surrogate")
    return content


def _read_text(value: Any, field: str, access: FileAccess) -> str | Failure | None:
    if isinstance(value, Failure):
        return value
    if isinstance(value, Path):
        data = access.read(value)
        try:
            return data if isinstance(data, Failure) else data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return Failure(Reason.INVALID_UNICODE, "the file is not valid UTF-8")
    if isinstance(value, list):
        parts = [part for part in value if part is not None]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(parts) if parts else None
    if value is None or isinstance(value, str):
        return value
    return Failure(Reason.WRONG_TYPE, f"field {field!r} holds {_type_of(value)}, not text")


def _type_of(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
