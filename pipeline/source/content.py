"""What a source's record means to the pipeline: its id, and its content for an encoder."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from commonspace.encoders.protocol import Content, Failure, Reason
from commonspace.pipeline.config.sections import SourceSection, SpaceSection
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.source.conversion.table import UNREADABLE, convert
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.images.bounds import exceeded_bound
from commonspace.pipeline.source.images.value import read_image_value
from commonspace.pipeline.source.records import Record

MAX_ID_BYTES = 4096
"""The longest id, in UTF-8."""
TEXT_RULE = "lines-nfc-1"
"""Values that are not null or empty, and those of lists, are joined by line breaks; then NFC.

A text or an image that is made otherwise of the same values needs another name here: spaces that
were published under this one are then refused until their owner raises the version.
"""
IMAGE_RULE = "file-bytes-1"
"""The bytes of the image's file, as they are."""

_OF_UNFINISHED_IMAGES = frozenset(
    {Reason.EMPTY_IMAGE, Reason.TRUNCATED_IMAGE, Reason.UNREADABLE_IMAGE}
)
_OF_UNFINISHED_TEXTS = frozenset({Reason.EMPTY_TEXT, Reason.INVALID_UNICODE})


def parse_id(value: Any) -> str | Failure:
    """A stable id: a non-empty string, or an integer or UUID written as one.

    Strings are taken unchanged: nothing is trimmed, case-folded or guessed.
    """
    if type(value) is not str:
        if isinstance(value, UUID) or _is_integer(value):
            return str(value)
        if isinstance(value, Decimal) and value.is_finite():
            scale = -int(value.as_tuple().exponent)
            message = (
                f"the id is a decimal of scale {scale}, not 0: unload it as an integer or text"
            )
            return Failure(Reason.BAD_ID, message)
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


def _is_integer(value: Any) -> bool:
    """Also of a decimal column of scale 0, as warehouses write their integers."""
    if isinstance(value, Decimal):
        return value.as_tuple().exponent == 0
    return type(value) is int


def content_recipe(space: SpaceSection) -> Recipe:
    """What `read_content` makes the contents of a space of, and by which rule."""
    if space.image:
        return Recipe(image=space.image, rule=IMAGE_RULE)
    return Recipe(fields=space.fields, rule=TEXT_RULE)


def reasons_of_unfinished_files(space: SpaceSection, source: SourceSection) -> frozenset[Reason]:
    """Why a content may be refused while the file that it lies in is written, or copied.

    A text lies in a file of its own only where the source is a folder.
    """
    if space.image:
        return _OF_UNFINISHED_IMAGES
    return _OF_UNFINISHED_TEXTS if source.kind == "folder" else frozenset()


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
    content = "\n".join(texts)
    if content.isascii():
        return content
    content = unicodedata.normalize("NFC", content)
    try:
        content.encode()
    except UnicodeEncodeError:
        return _lone_surrogate()
    return content


def _read_text(value: Any, field: str, access: FileAccess) -> str | Failure | None:
    """The text of one field: that of a file, of a value, or of the values of a list in lines."""
    if type(value) is str:
        return value or None
    if isinstance(value, Failure):
        return value
    if isinstance(value, Path):
        return _read_text_file(value, access)
    parts = value if isinstance(value, list) else [value]
    try:
        if any(isinstance(part, list | dict) for part in parts):
            raise TypeError(parts)
        texts = [text for part in parts if (text := convert(part, "string")) is not None]
    except UnicodeDecodeError:
        return Failure(Reason.INVALID_UNICODE, "the text is not valid UTF-8")
    except UnicodeEncodeError:
        return _lone_surrogate()
    except UNREADABLE:
        return Failure(Reason.WRONG_TYPE, f"field {field!r} holds {_type_of(value)}, not text")
    return "\n".join(texts) if texts else None


def _read_text_file(path: Path, access: FileAccess) -> str | Failure:
    data = access.read(path)
    try:
        return data if isinstance(data, Failure) else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Failure(Reason.INVALID_UNICODE, "the file is not valid UTF-8")


def _lone_surrogate() -> Failure:
    return Failure(Reason.INVALID_UNICODE, "the text has a lone surrogate")


def _type_of(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
