"""The records that flow between stages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoders.protocol import Failure
from pipeline.config import SpaceSection
from pipeline.index_choice import Wanted
from pipeline.schemas import REJECTS_SCHEMA


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
class Row:
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
class Unreadable:
    """A record of a source that could not be read; the others could."""

    locator: str
    origin: str
    failure: Failure
    partition: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Ledger:
    """The account of one run over one space: every offered item in exactly one state.

    deleted and absent are counted beside: rows that left the release, and items that carry
    no content for this space at all. Where a text has a row for each passage, what is offered
    are its passages, and the text itself where it could not be read.
    """

    offered: int = 0
    encoded: int = 0
    reused: int = 0
    kept: int = 0
    rejected: int = 0
    deleted: int = 0
    absent: int = 0

    @property
    def balances(self) -> bool:
        return self.offered == self.encoded + self.reused + self.kept + self.rejected

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Gate:
    """One check before anything is visible: what was found, what is allowed, what to look at."""

    name: str
    ok: bool
    value: float | None
    """None where there was nothing to look at."""
    limit: float
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Part:
    """One immutable Parquet file of a release."""

    key: str
    partition: str | None
    bucket: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Release:
    """The manifest of a numbered, immutable state of a space."""

    number: int
    parent: int
    state: str
    """sha256 over the parts and the rejects: equal states hold equal rows."""
    space: str
    fingerprint: str
    spec: Mapping[str, Any]
    encoder: Mapping[str, Any]
    """How to load the encoder again; a hint, checked against the fingerprint when used."""
    owner: str
    description: str
    run: str
    scope: str
    created_at: str
    rows: int
    parts: tuple[Part, ...]
    rejects: Mapping[str, Any] | None
    ledger: Mapping[str, int]
    gates: tuple[Mapping[str, Any], ...]
    items_per_second: float | None = None
    """Of the encoding that made it; what the next plan's estimate rests on."""
    versions: Mapping[str, str] = field(default_factory=dict)
    canary: str | None = None
    """sha256 of the space's canary.parquet; None where there was none yet."""
    changes: Mapping[str, int] = field(default_factory=dict)
    """How many rows were added, changed and removed since the parent; empty where unknown."""
    index: Mapping[str, Any] = field(default_factory=dict)
    """What its owner has said about indices; empty for the defaults."""

    @property
    def wanted(self) -> Wanted:
        """The indices that its table gets."""
        return Wanted.from_json(self.index)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Release:
        parts = tuple(Part(**part) for part in value["parts"])
        return cls(**{**value, "parts": parts, "gates": tuple(value["gates"])})


def canonical_digest(document: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a document that does not hold the digest itself."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def space_key(space: SpaceSection) -> str:
    """`blurb/v2`: how a space of a collection is called in keys and columns."""
    return f"{space.name}/v{space.version}"


@dataclass(frozen=True)
class Plan:
    """PLAN_SCHEMA rows: items in the source's order, then deletes."""

    table: pa.Table

    def count(self, action: str) -> int:
        return int(pc.sum(pc.equal(self.table["action"], action)).as_py() or 0)

    @property
    def shards(self) -> list[str]:
        """The keys of the shards to encode, in order."""
        return list(dict.fromkeys(k for k in self.table["shard"].to_pylist() if k))

    def of(self, *actions: str) -> pa.Table:
        return self.table.filter(pc.is_in(self.table["action"], pa.array(actions)))

    def shard(self, key: str) -> pa.Table:
        return self.table.filter(pc.equal(self.table["shard"], key))


def reject(
    failure: Failure, *, stage: str, run: str, **known: str | None
) -> dict[str, str | bool | None]:
    """A row of REJECTS_SCHEMA; `known`: id, partition, source_uri, content_digest, space."""
    return {
        **dict.fromkeys(REJECTS_SCHEMA.names),
        **known,
        "stage": stage,
        "reason": str(failure.reason),
        "message": failure.message[:500],
        "retryable": failure.retryable,
        "run": run,
    }


def digest_of(content: str | bytes) -> str:
    """sha256 (hex) of a content: UTF-8 of the text, or the bytes of the image file."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
