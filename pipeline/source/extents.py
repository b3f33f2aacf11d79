"""How far a scan has read: what it says of a record that it is not there.

Only a file that was read to its end can have lost a record. One that is gone, empty, cut or
unreadable says nothing of what it held, and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.files import SourceFile
from commonspace.pipeline.source.records import Record, UnreadableRecord


class End(StrEnum):
    """How a file ended that a scan has read."""

    WHOLE = "whole"
    """As its format demands."""
    OPEN = "open"
    """After a record, but without the line end: perhaps cut, perhaps written so."""
    CUT = "cut"
    """Within a record, or before what its format ends with."""
    UNREADABLE = "unreadable"
    """Damaged, encrypted or of another format: not all of it can be read, or nothing."""
    GAPS = "gaps"
    """As its format demands, with a record of which nobody can read the id: a plan says so."""
    EMPTY = "empty"
    """Before the first record."""


@dataclass(frozen=True)
class Extent:
    """A file that a scan has read; of a source of kind `folder`, a folder with items below it.

    Attributes:
        origin: The file, as its records have it; of a folder, its path below the source's base.
        end: How it ended.
        doubtful: Its last record, where that may have lost its end although it can be read.
    """

    origin: str
    end: End = End.WHOLE
    doubtful: Record | None = None


FileScan = Iterator[Record | UnreadableRecord | Extent]


class UnreadableFile(Exception):
    """A file of which nothing can be read; another one of the source may be.

    Attributes:
        what: What is wrong with it, or what it is instead.
        end: How it ended.
        retry, do: As of `CommonspaceError`.
    """

    def __init__(
        self, what: str, *, end: End = End.UNREADABLE, retry: bool = False, do: str = ""
    ) -> None:
        super().__init__(what)
        self.what, self.end, self.retry, self.do = what, end, retry, do


def scan_files(files: Sequence[SourceFile], scan: Callable[[SourceFile], FileScan]) -> FileScan:
    """What is in the files; one that cannot be read is a reject, unless it is empty.

    Args:
        files: in the order in which they are scanned.
        scan: the records of a file, then its extent; it raises UnreadableFile, SourceNotFound or
            OSError where nothing, or nothing more, of the file can be read.

    Raises:
        SourceNotFound: nothing can be read of any file, and one at least says why.
    """
    first_problem: tuple[SourceFile, UnreadableFile] | None = None
    is_any_read = False
    for file in files:
        problem = None
        try:
            scanned = scan(file)
            while not is_any_read and (found := next(scanned, None)) is not None:
                is_any_read = _is_read(found)
                problem = problem or _problem_of_part(found)
                yield found
            yield from scanned
        except (UnreadableFile, SourceNotFound, OSError) as error:
            problem = _problem(error)
            if problem.end is not End.EMPTY:
                failure = Failure(Reason.SOURCE_UNREADABLE, f"the file {problem.what}", True)
                yield UnreadableRecord(file.locator(0, 0), file.name, failure, file.partition)
            yield Extent(file.name, problem.end)
        if problem and not first_problem:
            first_problem = file, problem
    if first_problem and not is_any_read:
        raise _nothing_read(*first_problem, len(files))


def _is_read(found: Record | UnreadableRecord | Extent) -> bool:
    return not isinstance(found, UnreadableRecord) and (
        isinstance(found, Record) or found.end is not End.UNREADABLE
    )


def _problem_of_part(found: Record | UnreadableRecord | Extent) -> UnreadableFile | None:
    """Why a part of a file was not read, which may be all of it."""
    if not isinstance(found, UnreadableRecord):
        return None
    return UnreadableFile(found.failure.message, retry=found.failure.retryable)


def _problem(error: UnreadableFile | SourceNotFound | OSError) -> UnreadableFile:
    match error:
        case UnreadableFile():
            return error
        case OSError():
            return UnreadableFile(f"cannot be read: {error.strerror or error}", retry=True)
    return UnreadableFile(error.what, retry=error.retry, do=error.do)


def _nothing_read(file: SourceFile, problem: UnreadableFile, files: int) -> SourceNotFound:
    others = f"; none of the {files} files can be read" if files > 1 else ""
    return SourceNotFound(
        problem.what + others, item=str(file.path), retry=problem.retry, do=problem.do
    )
