"""What a source's record means to the pipeline: its id, and its content for an encoder."""

from __future__ import annotations

import stat
import unicodedata
from pathlib import Path
from typing import Any

from commonspace.encoders.protocol import Content, Failure, Reason
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.source.records import Record

MAX_ID_BYTES = 4096
MAX_FILE_BYTES = 256 * 2**20
"""A photo has a hundredth of this; a larger file is no photo or text, and would fill the memory."""


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


def read_content(
    record: Record, space: SpaceSection, image_root: str | None
) -> Content | Failure | None:
    """The content that the space's encoder gets: a text in NFC, or the bytes of an image file.

    Returns:
        None where the record has no content for the space, a Failure where it cannot be read.
    """
    if space.image:
        return _read_image(record, record.values.get(space.image), image_root)
    texts: list[str] = []
    for field in space.fields:
        text = _read_text(record.values.get(field), field)
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


def _read_text(value: Any, field: str) -> str | Failure | None:
    if isinstance(value, Path):
        data = _read_file(value)
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


def _read_image(record: Record, value: Any, image_root: str | None) -> bytes | Failure | None:
    """The bytes of the image file; an empty path, as in a table's empty cell, means no image."""
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        root = Path(image_root or record.folder).resolve()
        path = _resolve_below(root, value)
        if path is None:
            return Failure(Reason.MISSING_CONTENT, f"{value!r} lies outside the folder {root}")
        value = path
    if not isinstance(value, Path):
        return Failure(Reason.WRONG_TYPE, f"the image is {_type_of(value)}, not bytes or a path")
    return _read_file(value)


def _read_file(path: Path) -> bytes | Failure:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could block forever
            return Failure(Reason.MISSING_CONTENT, f"{path.name!r} is not a file", retryable=True)
        if path.stat().st_size > MAX_FILE_BYTES:
            return Failure(
                Reason.TOO_LARGE, f"{path.name!r} is larger than {MAX_FILE_BYTES:,} bytes"
            )
        return path.read_bytes()
    except FileNotFoundError:
        return Failure(Reason.MISSING_CONTENT, f"there is no file {path.name!r}", retryable=True)
    except OSError as error:
        return Failure(Reason.SOURCE_UNREADABLE, error.strerror or str(error), retryable=True)


def _resolve_below(root: Path, value: str) -> Path | None:
    """The path below the root, links followed, or None where it leads outside."""
    try:
        path = (root / value).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return path if path.is_relative_to(root) else None


def _type_of(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
