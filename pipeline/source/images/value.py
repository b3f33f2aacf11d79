"""From the value of an image column to the bytes that an encoder gets.

| the value                                        | is                                          |
|--------------------------------------------------|---------------------------------------------|
| null, an empty text                              | no image                                    |
| bytes                                            | the image file itself                       |
| a struct of `bytes` and `path`, or of one        | its bytes; where they are null, its path    |
| a `data:` address                                | the bytes in it                             |
| a `file:` address                                | a path, percent-decoded                     |
| an address of another scheme, as `https://…`     | a lasting reject: nothing is fetched        |
| base64 that begins as an image file does         | its bytes, unless a file has this name      |
| any other text                                   | a path below the source's folder            |
| such a text as `mailto:x` or `//host/x`          | an address too, unless a file has this name |

Hugging Face's `datasets` writes such structs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.file_access import FileAccess, too_large
from commonspace.pipeline.source.images.inline import (
    decode_base64,
    decode_data_address,
    is_data_address,
    looks_like_an_image,
)

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/", re.ASCII)
"""A scheme has two letters at least: `C:/` is a drive of Windows (RFC 3986, 3.1)."""
_WITHOUT_FILE = re.compile(r"(?:([A-Za-z][A-Za-z+-]+):|//[^/])", re.ASCII)
"""What begins an address where no file has this name: a scheme alone (`blob:`), or a host alone.

A scheme of letters: `photo-12:30.png` is rather a file that is not there yet.
"""
_FILE_ADDRESS = re.compile(r"(?i:file:)(?://([^/]*))?(.*)", re.DOTALL)
"""The machine and the path (RFC 8089)."""
_WINDOWS_ROOT = re.compile(r"[A-Za-z]:[\\/]|\\\\", re.ASCII)
_LONGEST_PATH = 4096
"""PATH_MAX of Linux: a longer text names no file."""
_NAMES_NO_FILE = frozenset({Reason.MISSING_CONTENT, Reason.SOURCE_UNREADABLE})
_SHOWN = 500
_STRUCT_FIELDS = frozenset({"bytes", "path"})
Found = bytes | Failure


def read_image_value(value: Any, folder: str, access: FileAccess) -> Found | None:
    """The bytes of the image that a column's value stands for.

    Args:
        value: as the source yields it.
        folder: what paths are relative to, where the collection names no other folder.
        access: which files may be read.

    Returns:
        None where the value says that there is no image.
    """
    if isinstance(value, Mapping) and is_image_struct(value):
        return _read_struct(value, folder, access)
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return too_large("the image", access.max_bytes) if len(value) > access.max_bytes else value
    if type(value) is str:
        return _read_text(value, folder, access)
    if isinstance(value, Failure):
        return value
    if not isinstance(value, Path):
        kind = type(value).__name__
        return Failure(Reason.WRONG_TYPE, f"the image is of type {kind}, not bytes or a path")
    return access.read(value)


def is_image_struct(value: Mapping[str, Any]) -> bool:
    """Whether the struct is that of an image, as Hugging Face's `datasets` writes it."""
    return bool(value) and value.keys() <= _STRUCT_FIELDS


def _read_struct(value: Mapping[str, Any], folder: str, access: FileAccess) -> Found | None:
    content, path = value.get("bytes"), value.get("path")
    if isinstance(content, str):  # JSON has no bytes
        return decode_base64(content, access.max_bytes, "the image's `bytes`")
    if not isinstance(content, bytes | None) or not isinstance(path, str | None):
        return Failure(Reason.WRONG_TYPE, "the image's `bytes` are no bytes, or its `path` no text")
    return read_image_value(content if content is not None else path, folder, access)


def _read_text(value: str, folder: str, access: FileAccess) -> Found:
    if is_data_address(value):
        return decode_data_address(value, access.max_bytes)
    if file_address := _FILE_ADDRESS.fullmatch(value):
        return _read_file_address(file_address[1], file_address[2], folder, access)
    if address := _ADDRESS.match(value):
        return _unsupported(value, address[1])
    if looks_like_an_image(value):
        file = _read_one(value, folder, access) if len(value) <= _LONGEST_PATH else None
        return (
            file if isinstance(file, bytes) else decode_base64(value, access.max_bytes, "the image")
        )
    found = _read_path(value, folder, access)
    if isinstance(found, Failure) and found.reason in _NAMES_NO_FILE:
        address = _WITHOUT_FILE.match(value.strip())
        return _unsupported(value, address[1]) if address else found
    return found


def _unsupported(value: str, scheme: str | None) -> Failure:
    of_scheme = f"of scheme {scheme.lower()!r}" if scheme else "without a scheme"
    return Failure(
        Reason.UNSUPPORTED_ADDRESS,
        f"{_shown(value)} is an address {of_scheme}, and nothing is "
        "fetched: an image is bytes, base64, a data: or file: address, or a path",
    )


def _read_file_address(host: str | None, path: str, folder: str, access: FileAccess) -> Found:
    if host not in (None, "", "localhost"):
        message = f"a file: address of the machine {_shown(host or '')}: nothing is fetched"
        return Failure(Reason.UNSUPPORTED_ADDRESS, message)
    return _read_one(unquote(path), folder, access)


def _read_path(value: str, folder: str, access: FileAccess) -> Found:
    """The file of that path as it is written or, where there is none, as others write paths."""
    found = _read_one(value, folder, access)
    if not isinstance(found, Failure) or found.reason is not Reason.MISSING_CONTENT:
        return found
    for spelling in _other_spellings(value):
        other = _read_one(spelling, folder, access)
        if isinstance(other, bytes):
            return other
        found = found if other.retryable else other
    if _WINDOWS_ROOT.match(value):
        return Failure(Reason.MISSING_CONTENT, f"{_shown(value)} is an absolute path of Windows")
    if not value.strip():
        return Failure(Reason.MISSING_CONTENT, f"{_shown(value)} is a path of blanks only")
    return found


def _other_spellings(value: str) -> Iterator[str]:
    """The path with `/` for the separator of Windows and no blanks at its ends; percent-decoded."""
    spelling = value.strip().replace("\\", "/")
    if spelling != value:
        yield spelling
    if "%" in spelling:
        yield unquote(spelling)


def _read_one(value: str, folder: str, access: FileAccess) -> Found:
    if "\0" in value:
        message = f"{_shown(value)} holds a NUL, which no path can"
        return Failure(Reason.MISSING_CONTENT, message)
    if (path := access.resolve(folder, value)) is not None:
        return access.read(path, _shown(value))
    root = access.root(folder)
    return Failure(Reason.MISSING_CONTENT, f"{_shown(value)} lies outside the folder {root}")


def _shown(value: str) -> str:
    """The value as a message shows it: a release keeps the message, so it has an end."""
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")
