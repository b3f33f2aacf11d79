"""Finding a source's files: a path, a glob, and `{partition}` as a part of either."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from encoders.protocol import Failure, Reason
from pipeline.errors import SourceNotFound, UserMistake
from pipeline.records import Scope

PLACEHOLDER = "{partition}"


@dataclass(frozen=True)
class Found:
    """One file or folder of a source; `name` is its path below the source's fixed part."""

    path: Path
    name: str
    partition: str | None = None

    def locator(self, start: int, end: int) -> str:
        """A record's place in the file: `at` reads it back."""
        return f"{start}:{end - start}:{len(self.name)}:{self.name}{self.path}"

    @classmethod
    def at(cls, locator: str) -> tuple[Found, int, int]:
        """The file, start and length that `locator` was made of."""
        start, length, cut, rest = locator.split(":", 3)
        name, path = rest[: int(cut)], rest[int(cut) :]
        return cls(Path(path), name), int(start), int(length)


def find(uri: str, scope: Scope) -> list[Found]:
    """What `uri` names within the scope, sorted by path.

    Raises SourceNotFound where that is nothing, UserMistake for a partition without a place.
    """
    if scope.partition is not None and PLACEHOLDER not in uri:
        raise UserMistake(
            f"the source has no partitions, yet partition {scope.partition!r} was asked for",
            item=uri,
            do="Put {partition} into the source's `uri`, or run without a partition.",
        )
    value = "*" if scope.partition is None else glob.escape(scope.partition)
    base, expression = _fixed_part(uri), _expression(uri)
    found = []
    for text in sorted(glob.glob(uri.replace(PLACEHOLDER, value), recursive=True)):
        match = expression.fullmatch(text)
        partition = match["partition"] if match and PLACEHOLDER in uri else None
        found.append(Found(Path(text), os.path.relpath(text, base), partition))
    if not found:
        where = f" for partition {scope.partition}" if scope.partition is not None else ""
        raise SourceNotFound(
            f"there is nothing there{where}",
            item=uri,
            do="Check the source's `uri` in the collection file (relative to that file).",
        )
    return found


def readable(found: Found) -> Path:
    """The path, once it is sure that it can be opened. Raises SourceNotFound."""
    try:
        with found.path.open("rb"):
            return found.path
    except OSError as error:
        raise SourceNotFound(
            f"cannot be opened: {error.strerror}",
            item=str(found.path),
            do="A source's file must be readable by the user that runs commonspace.",
        ) from error


def unreadable(error: OSError) -> Failure:
    """The failure of one record whose bytes could not be had; trying again may help."""
    return Failure(Reason.SOURCE_UNREADABLE, error.strerror or str(error), retryable=True)


def _fixed_part(uri: str) -> str:
    """The folder above the first wildcard, or the folder that holds the one file."""
    wild = re.search(r"[*?\[{]", uri)
    return str(Path(uri[: wild.start()] + "x").parent) if wild else str(Path(uri).parent)


def _expression(uri: str) -> re.Pattern[str]:
    """A regular expression for the paths that the glob matches, with the partition named."""
    pieces = re.split(r"(\{partition\}|\*\*/|\*\*|\*|\?|\[[^\]]*\])", uri)
    wild = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    named, text = False, ""
    for piece in pieces:
        if piece == PLACEHOLDER:
            text += "(?P=partition)" if named else "(?P<partition>[^/]*)"
            named = True
        elif piece.startswith("[") and piece.endswith("]"):
            text += piece.replace("[!", "[^")
        else:
            text += wild.get(piece, re.escape(piece))
    return re.compile(text, re.DOTALL)
