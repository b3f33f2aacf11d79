"""What a source yields: records, readable or not; and the scope that a run asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonspace.encoders.protocol import Failure, Reason, beyond_limit


@dataclass(frozen=True)
class Scope:
    """What a run may read and change: one partition, some ids, or everything."""

    partition: str | None = None
    ids: frozenset[str] | None = None

    def __str__(self) -> str:
        if self.partition is not None:
            return f"partition {self.partition}"
        return f"{len(self.ids)} ids" if self.ids is not None else "everything"


EVERYTHING = Scope()
PLACE_END = "\0"
"""Stands in a locator between the place, for people, and what `Source.load` reads."""


def place_of(locator: str) -> str | None:
    """Where in its file a person finds the record, as a locator says it; None of whole files.

    `record 1233, line 1234, byte 56789`: the record and the line on which it begins are counted
    from 1, as an editor counts lines, the byte from 0. `row group 3, row 17, record 12018`: the
    group and the row in it are counted from 0, as readers of Parquet do, the record from 1.
    """
    place, end, _ = locator.partition(PLACE_END)
    return place if end and place and not place.startswith("/") else None


@dataclass(slots=True)  # not frozen: that would double what one costs to make
class Record:
    """One record of a source, its values unconverted; nobody changes it.

    locator: where `Source.load` finds it again; only that source can read it, but for the place.
    origin: the file's path below the source's base folder; readers see it as `source_uri`.
    folder: the folder that image paths in `values` are relative to.
    """

    locator: str
    origin: str
    values: Mapping[str, Any]
    partition: str | None = None
    folder: str = ""

    @property
    def place(self) -> str | None:
        """See `place_of`."""
        return place_of(self.locator)


@dataclass(frozen=True)
class UnreadableRecord:
    """A record of a source that could not be read, while others could."""

    locator: str
    origin: str
    failure: Failure
    partition: str | None = None
    id: str | None = None

    @property
    def place(self) -> str | None:
        """See `place_of`."""
        return place_of(self.locator)


def record_too_large(what: str, max_bytes: int) -> Failure:
    """The failure of a record of a table with more bytes than it may have; `what`: `the record`."""
    return beyond_limit(
        Reason.TOO_LARGE, f"{what} has too many bytes", "max_record_bytes", max_bytes
    )


def sha256_hex(content: str | bytes) -> str:
    """sha256 in hex digits, of a text in UTF-8 or of an image file's bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
