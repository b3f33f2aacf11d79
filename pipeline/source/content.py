"""From a source's record to what an encoder sees: the id, the content, the metadata."""

from __future__ import annotations

import json
import stat
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from commonspace.encoders.protocol import Content, Failure, Reason
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.source.records import Record

MAX_ID_BYTES = 4096
MAX_FILE_BYTES = 256 * 2**20
"""A photo has a hundredth of it; a file beyond it was not meant, and would fill the memory."""


def parse_id(value: Any) -> str | Failure:
    """A stable id: a non-empty string, or an integer written as one.

    Strings are taken as they are; nothing is trimmed, folded or guessed.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return Failure(Reason.BAD_ID, f"the id is {_kind(value)}, not a string")
    if not value:
        return Failure(Reason.BAD_ID, "the id is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return Failure(Reason.BAD_ID, "the id is not valid Unicode (a lone surrogate)")
    if size > MAX_ID_BYTES:
        return Failure(Reason.BAD_ID, f"the id has {size} bytes, more than {MAX_ID_BYTES}")
    return value


def read_content(row: Record, space: SpaceSection, image_root: str | None) -> Content | Failure | None:
    """What the space's encoder sees of a record; None where the record carries nothing for it."""
    if space.image:
        return _image(row, row.values.get(space.image), image_root)
    texts: list[str] = []
    for field in space.fields:
        found = _text(row.values.get(field), field)
        if isinstance(found, Failure):
            return found
        if found is not None:
            texts.append(found)
    if not texts:
        return None
    text = unicodedata.normalize("NFC", "\n".join(texts))
    try:
        text.encode()
    except UnicodeEncodeError:
        return Failure(Reason.INVALID_UNICODE, "the text has a lone surrogate")
    return text


def convert_metadata(row: Record, types: Mapping[str, str]) -> dict[str, Any] | Failure:
    """The declared metadata columns, converted to their declared types; absent ones are null."""
    values: dict[str, Any] = {}
    for name, kind in types.items():
        try:
            values[name] = _CONVERT[kind](row.values.get(name))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return Failure(Reason.BAD_METADATA, f"column {name!r} cannot be read as {kind}")
    return values


def _text(value: Any, field: str) -> str | Failure | None:
    if isinstance(value, Path):
        found = _bytes_of(value)
        try:
            return found if isinstance(found, Failure) else found.decode("utf-8-sig")
        except UnicodeDecodeError:
            return Failure(Reason.INVALID_UNICODE, "the file is not valid UTF-8")
    if isinstance(value, list):
        parts = [part for part in value if part is not None]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(parts) if parts else None
    if value is None or isinstance(value, str):
        return value
    return Failure(Reason.WRONG_TYPE, f"field {field!r} holds {_kind(value)}, not text")


def _image(row: Record, value: Any, image_root: str | None) -> bytes | Failure | None:
    """The image file's bytes; an empty path is no image, as a table's empty cell."""
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        root = Path(image_root or row.folder).resolve()
        path = _inside(root, value)
        if path is None:
            return Failure(Reason.MISSING_CONTENT, f"{value!r} lies outside the folder {root}")
        value = path
    if not isinstance(value, Path):
        return Failure(Reason.WRONG_TYPE, f"the image is {_kind(value)}, not bytes or a path")
    return _bytes_of(value)


def _bytes_of(path: Path) -> bytes | Failure:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for without end
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


def _inside(root: Path, value: str) -> Path | None:
    """The path below the root, or None where it leads out of it (links followed)."""
    try:
        path = (root / value).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    return path if path.is_relative_to(root) else None


def _kind(value: Any) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"


def _string(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    value.encode()  # a lone surrogate raises: Arrow could not hold it
    return str(value)


def _integer(value: Any) -> int | None:
    if value is None or value == "":
        return None
    number = int(_plain(value))
    if (not isinstance(value, str) and value != number) or not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _float(value: Any) -> float | None:
    return None if value is None or value == "" else float(_plain(value))


def _plain(value: Any) -> Any:
    """The value, unless it is a number as only Python writes it: 1_000."""
    if isinstance(value, str) and "_" in value:
        raise ValueError(value)
    return value


def _boolean(value: Any) -> bool | None:
    if value is None or value == "" or isinstance(value, bool):
        return None if value == "" else value
    known = {"true": True, "false": False, "1": True, "0": False}
    if (found := known.get(str(value).lower())) is None:
        raise ValueError(value)
    return found


def _timestamp(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_CONVERT: Mapping[str, Any] = {
    "string": _string,
    "int64": _integer,
    "float64": _float,
    "bool": _boolean,
    "timestamp": _timestamp,
}
