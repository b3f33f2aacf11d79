"""The file of ids by which a run is limited to some items: lines for people, JSON for programs."""

from __future__ import annotations

import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable
from pathlib import Path

from commonspace.pipeline.errors import UserMistake

_AS_JSON = 'Write the ids as a JSON list, ["one", "two"], into a file whose name ends with .json.'
_AS_TEXTS = 'Each id in the list must be a text that is not empty, in quotes: ["1", "2"].'


def write_ids(path: Path, ids: Iterable[str]) -> None:
    """Write ids of any characters, so that `read_ids` gives the same; the path ends with .json."""
    path.write_text(json.dumps(list(ids)), encoding="utf-8")


def read_ids(path: Path) -> frozenset[str]:
    """The ids in a file: a JSON list, where its name ends with .json, else one in each line.

    Lines end with a line feed, or all of them with a carriage return before it. Empty ones are
    passed over; all else, blanks included, belongs to the id.

    Raises:
        UserMistake: the file cannot be read, or a line may mean more than one id.
    """
    data = b""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
        return _ids_of_json(text) if path.suffix.lower() == ".json" else _ids_of_lines(text)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserMistake(
            f"the file of ids cannot be read: {_reason(error)}",
            item=str(path),
            do=_advice(error, data),
        ) from error


def _reason(error: Exception) -> str:
    match error:
        case OSError():
            return error.strerror or str(error)
        case UnicodeDecodeError():
            line = error.object.count(b"\n", 0, error.start) + 1
            return f"it is not UTF-8 (line {line})"
        case json.JSONDecodeError():
            return f"it is not JSON (line {error.lineno}, character {error.colno})"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error)


def _advice(error: Exception, data: bytes) -> str:
    if isinstance(error, OSError):
        return "Name a file that the user who runs commonspace can read."
    if isinstance(error, UnicodeDecodeError):
        is_utf16 = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        return f"Save it as UTF-8{', not as UTF-16' if is_utf16 else ''}."
    return _AS_TEXTS if isinstance(error, TypeError) else _AS_JSON


def _ids_of_json(text: str) -> frozenset[str]:
    """Raises TypeError where it is a list, but not one of ids."""
    ids = json.loads(text)
    if not isinstance(ids, list):
        raise ValueError("it is not a JSON list of ids")  # noqa: TRY004 - of its text
    for number, item in enumerate(ids, 1):
        if not isinstance(item, str) or not item:
            raise TypeError(f"entry {number} of the list is {json.dumps(item)[:100]}, not an id")
    return frozenset(ids)


def _ids_of_lines(text: str) -> frozenset[str]:
    *ended, last = text.split("\n")
    if all(line.endswith("\r") for line in ended):  # as Windows writes them
        ended = [line.removesuffix("\r") for line in ended]
    lines = [*ended, last]
    for number, line in enumerate(lines, 1):
        if line and not line.strip():
            raise ValueError(f"line {number} has nothing but blanks")
        if "\r" in line:
            raise ValueError(f"line {number} has a carriage return of its own")
    return frozenset(filter(None, lines))
