"""Find a source's files by a path or a glob, either with `{partition}` in it."""

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
from commonspace.pipeline.source.records import PLACE_END, Scope

PLACEHOLDER = "{partition}"


@dataclass(frozen=True)
class SourceFile:
    """One file or folder of a source.

    name: its path below the source's base folder.
    partition: the one that its path names; None where the source has no partitions.
    """

    path: Path
    name: str
    partition: str | None = None

    @cached_property
    def folder(self) -> str:
        """The folder that the file is in."""
        return str(self.path.parent)

    @cached_property
    def _name_and_path(self) -> str:
        return f"{len(self.name)}:{self.name}{self.path}"

    def locator(self, start: int, end: int, place: str = "") -> str:
        """Where a record is, as a text that `parse_locator` and `place_of` read.

        start, end: in bytes, or in rows of a Parquet file; `end` is exclusive.
        place: the same for people; empty for a file as a whole.
        """
        return f"{place}{PLACE_END}{start}:{end - start}:{self._name_and_path}"

    @classmethod
    def parse_locator(cls, locator: str) -> tuple[SourceFile, int, int]:
        """The file, start and length that a locator was made of."""
        start, length, name_length, rest = locator.rpartition(PLACE_END)[2].split(":", 3)
        name, path = rest[: int(name_length)], rest[int(name_length) :]
        return cls(Path(path), name), int(start), int(length)


def find_files(uri: str, scope: Scope) -> list[SourceFile]:
    """The files or folders that `uri` names within the scope, sorted by partition and path.

    Raises:
        SourceNotFound: there are none.
        UserMistake: the scope has a partition that `uri` has no place for, or that is no name.
    """
    _check_partition(uri, scope.partition)
    value = "*" if scope.partition is None else glob.escape(scope.partition)
    base, pattern = base_folder(uri), _path_pattern(uri)
    files = []
    for path in sorted(set(glob.glob(uri.replace(PLACEHOLDER, value), recursive=True))):
        partition = None
        if has_partitions(uri):
            match = pattern.fullmatch(path)
            if match is None or scope.partition not in (None, match["partition"]):
                continue  # `a-{partition}-{partition}` matches a-1-2, `{partition}*` more than one
            partition = match["partition"]
        files.append(SourceFile(Path(path), os.path.relpath(path, base), partition))
    if not files:
        raise _not_found(uri, scope.partition)
    return sorted(files, key=lambda file: file.partition or "")


def require_readable(file: SourceFile) -> Path:
    """The file's path, after a try to open it.

    Raises:
        SourceNotFound: it cannot be opened.
    """
    try:
        with file.path.open("rb"):
            return file.path
    except OSError as error:
        raise SourceNotFound(
            f"cannot be opened: {error.strerror}",
            item=str(file.path),
            do="A source's file must be readable by the user that runs commonspace.",
        ) from error


def read_failure(error: OSError) -> Failure:
    """The failure of one record whose bytes could not be read; a retry may succeed."""
    return Failure(Reason.SOURCE_UNREADABLE, error.strerror or str(error), retryable=True)


def base_folder(uri: str) -> str:
    """The folder above the first wildcard or `{partition}`, or the one that holds the one file."""
    unescaped = re.sub(r"\[[*?\[]\]", "xxx", uri)  # an escaped wildcard is part of a name
    wildcard = re.search(r"[*?\[]|\{partition\}", unescaped)
    folder = str(Path(uri[: wildcard.start()] + "x").parent) if wildcard else str(Path(uri).parent)
    return re.sub(r"\[([*?\[])\]", r"\1", folder)


def has_wildcard(uri: str) -> bool:
    """Whether `uri` may name more than one file or folder."""
    return glob.has_magic(re.sub(r"\[[*?\[]\]", "", uri)) or has_partitions(uri)


def has_partitions(uri: str) -> bool:
    """Whether the path of a file says which partition it is of."""
    return PLACEHOLDER in uri


def _not_found(uri: str, partition: str | None) -> SourceNotFound:
    """PartitionNotFound where other partitions have files: the `uri` itself can be right."""
    others = partition is not None and glob.glob(uri.replace(PLACEHOLDER, "*"), recursive=True)
    for_partition = f" for partition {partition}" if partition is not None else ""
    kind = PartitionNotFound if others else SourceNotFound
    to_delete = " To delete its published rows, run it with --delete-missing." if others else ""
    return kind(
        f"there is no file or folder{for_partition}",
        item=uri,
        do="Check the source's `uri` in the collection file (relative to that file)." + to_delete,
    )


def _check_partition(uri: str, partition: str | None) -> None:
    """A partition is one visible name; any other would match other partitions, or none."""
    if partition is None:
        return
    if not has_partitions(uri):
        raise UserMistake(
            f"the source has no partitions, but the run names partition {partition!r}",
            item=uri,
            do="Put {partition} into the source's `uri`, or run without a partition.",
        )
    if not partition or "/" in partition or "\0" in partition or partition.startswith("."):
        raise UserMistake(
            f"{partition!r} is no partition: it is empty, starts with a dot or has a slash",
            item=uri,
            do="A partition is a part of a path, such as 2026-01-31.",
        )


def _path_pattern(uri: str) -> re.Pattern[str]:
    """A regular expression for the paths that the glob matches, with a group `partition`."""
    tokens = re.split(r"(\{partition\}|\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", uri)
    wildcards = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    has_group, expression = False, ""
    for token in tokens:
        if token == PLACEHOLDER:
            expression += "(?P=partition)" if has_group else "(?P<partition>[^/]*)"
            has_group = True
        elif token.startswith("[") and token.endswith("]"):
            expression += re.sub(r"\\[zZ]$", "", fnmatch.translate(token))
        else:
            expression += wildcards.get(token, re.escape(token))
    return re.compile(expression, re.DOTALL)
