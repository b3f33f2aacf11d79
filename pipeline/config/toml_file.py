"""Read a TOML file whose author may have written anything."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commonspace.pipeline.errors import UserMistake

LARGEST_INTEGER = 2**63 - 1
"""TOML's integers have 64 bits; Python's parser takes more."""
LARGEST_FILE = 2**20
"""Bytes. The parser takes seconds for each MB, and whoever looks for one file reads all of them."""
Location = tuple[str | int, ...]


def read_toml(path: Path) -> dict[str, Any]:
    """The document in a file.

    Raises:
        UserMistake: the file cannot be read, or is not TOML.
    """
    try:
        if not path.is_file() and path.exists():  # reading a pipe could block forever
            raise UserMistake("is not a file", item=str(path))
        if path.stat().st_size > LARGEST_FILE:
            raise UserMistake("is larger than 1 MiB, which no such file needs", item=str(path))
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserMistake(f"cannot be read: {error.strerror}", item=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise UserMistake(f"is not valid TOML: {_reason(error)}", item=str(path)) from error


def values_beyond_toml(value: Any, location: Location = ()) -> Iterator[tuple[Location, str]]:
    """The place of each value that no key can have, with what is wrong with it.

    These are integers of more than 64 bits, and texts with a NUL, which no path and no name of a
    column may have.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            if "\0" in key:
                yield location, "a key has the character NUL in it"
            yield from values_beyond_toml(inner, (*location, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from values_beyond_toml(inner, (*location, number))
    elif isinstance(value, str) and "\0" in value:
        yield location, "has the character NUL in it"
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        yield location, "is an integer of more than 64 bits"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its lists or tables are nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"it is not UTF-8 (line {line})"
    if isinstance(error, tomllib.TOMLDecodeError):
        return str(error)
    return "an integer has more than 64 bits"  # so many digits that Python reads none of them
