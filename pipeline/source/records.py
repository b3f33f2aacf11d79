"""What a source yields: records, readable or not; and the scope that a run asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonspace.encoders.protocol import Failure


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


@dataclass(frozen=True)
class Record:
    """One record of a source, its values unconverted.

    locator: where `Source.load` finds it again; only that source can read it.
    origin: the file's path below the source's base folder; readers see it as `source_uri`.
    folder: the folder that image paths in `values` are relative to.
    """

    locator: str
    origin: str
    values: Mapping[str, Any]
    partition: str | None = None
    folder: str = ""


@dataclass(frozen=True)
class UnreadableRecord:
    """A record of a source that could not be read, while others could."""

    locator: str
    origin: str
    failure: Failure
    partition: str | None = None
    id: str | None = None


def sha256_hex(content: str | bytes) -> str:
    """sha256 in hex digits, of a text in UTF-8 or of an image file's bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
