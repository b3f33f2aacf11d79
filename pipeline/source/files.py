"""Finding a source's files: a path, a glob, and `{partition}` as a part of either."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import PartitionNotFound, SourceNotFound, UserMistake
from commonspace.pipeline.source.records import Scope

PLACEHOLDER = "{partition}"


@dataclass(frozen=True)
class SourceFile:
    """One file or folder of a source; `name` is its path below the source's fixed part."""

    path: Path
    name: str
    partition: str | None = None

    @cached_property
    def folder(self) -> str:
        """The folder that the file lies in."""
        return str(self.path.parent)

    @cached_property
    def _named(self) -> str:
        return f"{len(self.name)}:{self.name}{self.path}"

    def locator(self, start: int, end: int) -> str:
        """A record's place in the file: `at` reads it back."""
        return f"{start}:{end - start}:{self._named}"

    @classmethod
    def at(cls, locator: str) -> tuple[SourceFile, int, int]:
        """The file, start and length that `locator` was made of."""
        start, length, cut, rest = locator.split(":", 3)
        name, path = rest[: int(cut)], rest[int(cut) :]
        return cls(Path(path), name), int(start), int(length)


def find_files(uri: str, scope: Scope) -> list[SourceFile]:
    """What `uri` names within the scope, sorted by path.

    Raises SourceNotFound where that is nothing, UserMistake for a partition without a place.
    """
    _check_partition(uri, scope.partition)
    value = "*" if scope.partition is None else glob.escape(scope.partition)
    base, expression = base_folder(uri), _expression(uri)
    found = []
    for text in sorted(set(glob.glob(uri.replace(PLACEHOLDER, value), recursive=True))):
        partition = None
        if PLACEHOLDER in uri:
            match = expression.fullmatch(text)
            if match is None or scope.partition not in (None, match["partition"]):
                continue  # `a-{partition}-{partition}` matches a-1-2, `{partition}*` more than one
            partition = match["partition"]
        found.append(SourceFile(Path(text), os.path.relpath(text, base), partition))
    if not found:
        raise _nothing(uri, scope.partition)
    return found


def _nothing(uri: str, partition: str | None) -> SourceNotFound:
    """PartitionNotFound where only the partition is missing: the `uri` itself can be right."""
    others = partition is not None and glob.glob(uri.replace(PLACEHOLDER, "*"), recursive=True)
    where = f" for partition {partition}" if partition is not None else ""
    kind = PartitionNotFound if others else SourceNotFound
    return kind(
        f"there is nothing there{where}",
        item=uri,
        do="Check the source's `uri` in the collection file (relative to that file).",
    )


def require_readable(found: SourceFile) -> Path:
    """The path, once it is sure that it can be opened. Raises SourceNotFound."""
    try:
        with found.path.open("rb"):
            return found.path
    except OSError as error:
        raise SourceNotFound(
            f"cannot be opened: {error.strerror}",
            item=str(found.path),
            do="A source's file must be require_readable by the user that runs commonspace.",
        ) from error


def read_failure(error: OSError) -> Failure:
    """The failure of one record whose bytes could not be had; trying again may help."""
    return Failure(Reason.SOURCE_UNREADABLE, error.strerror or str(error), retryable=True)


def base_folder(uri: str) -> str:
    """The folder above the first wildcard, or the folder that holds the one file."""
    plain = re.sub(r"\[[*?\[]\]", "xxx", uri)  # an escaped wildcard is a name's part
    wild = re.search(r"[*?\[]|\{partition\}", plain)
    fixed = str(Path(uri[: wild.start()] + "x").parent) if wild else str(Path(uri).parent)
    return re.sub(r"\[([*?\[])\]", r"\1", fixed)


def has_wildcard(uri: str) -> bool:
    """Whether `uri` may name more than one file or folder."""
    return glob.has_magic(re.sub(r"\[[*?\[]\]", "", uri)) or PLACEHOLDER in uri


def _check_partition(uri: str, partition: str | None) -> None:
    """A partition is one visible name; others would reach into another partition, or none."""
    if partition is None:
        return
    if PLACEHOLDER not in uri:
        raise UserMistake(
            f"the source has no partitions, yet partition {partition!r} was asked for",
            item=uri,
            do="Put {partition} into the source's `uri`, or run without a partition.",
        )
    if not partition or "/" in partition or "\0" in partition or partition.startswith("."):
        raise UserMistake(
            f"{partition!r} cannot be a partition: it is empty, starts with a dot or has a slash",
            item=uri,
        )


def _expression(uri: str) -> re.Pattern[str]:
    """A regular expression for the paths that the glob matches, with the partition named."""
    pieces = re.split(r"(\{partition\}|\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", uri)
    wild = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    named, text = False, ""
    for piece in pieces:
        if piece == PLACEHOLDER:
            text += "(?P=partition)" if named else "(?P<partition>[^/]*)"
            named = True
        elif piece.startswith("[") and piece.endswith("]"):
            text += re.sub(r"\\[zZ]$", "", fnmatch.translate(piece))
        else:
            text += wild.get(piece, re.escape(piece))
    return re.compile(text, re.DOTALL)
