"""The records that flow between stages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonspace.encoders.protocol import Failure


@dataclass(frozen=True)
class Scope:
    """What a run may touch: one partition, some ids, or everything."""

    partition: str | None = None
    ids: frozenset[str] | None = None

    def __str__(self) -> str:
        if self.partition is not None:
            return f"partition {self.partition}"
        return f"{len(self.ids)} ids" if self.ids is not None else "everything"


EVERYTHING = Scope()


@dataclass(frozen=True)
class Record:
    """One record of a source, as it stands there.

    locator: where `Source.load` finds it again; meaningful to that source only.
    origin: what consumers see as `source_uri`.
    folder: the folder that image paths in `values` are relative to.
    """

    locator: str
    origin: str
    values: Mapping[str, Any]
    partition: str | None = None
    folder: str = ""


@dataclass(frozen=True)
class UnreadableRecord:
    """A record of a source that could not be read; the others could."""

    locator: str
    origin: str
    failure: Failure
    partition: str | None = None
    id: str | None = None


def sha256_hex(content: str | bytes) -> str:
    """sha256 (hex) of a content: UTF-8 of the text, or the bytes of the image file."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
