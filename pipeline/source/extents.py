"""How far a scan has read: what it says of a record that it is not there.

Only a file that was read to its end can have lost a record. One that is gone, empty or cut says
nothing of what it held.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from commonspace.pipeline.source.records import Record


class End(StrEnum):
    """How a file ended that a scan has read."""

    WHOLE = "whole"
    """As its format demands."""
    OPEN = "open"
    """After a record, but without the line end: perhaps cut, perhaps written so."""
    CUT = "cut"
    """Within a record, or before what its format ends with."""
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
