"""The records that flow between stages, and their Arrow schemas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoders.protocol import FACTS, Failure
from encoders.spec import EncoderSpec
from pipeline.config import SpaceSection
from pipeline.errors import ContractBroken
from pipeline.hold import Hold
from pipeline.index_choice import Indices, Wanted

COLUMN_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_FACT_TYPES = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}


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


@dataclass(frozen=True)
class Served:
    """A release that readers were served before the current one."""

    release: int
    table_version: int
    promoted_at: str


@dataclass(frozen=True)
class Current:
    """The pointer that readers follow: the promoted release and its state in LanceDB."""

    release: int
    table: str
    table_version: int
    promoted_at: str
    run: str
    """What moved the pointer: a run's id, `promote` or `rollback`."""
    served: tuple[Served, ...] = ()
    """What was served before, the latest last, a release once; what retention removed is not
    among them."""
    indices: Indices | None = None
    """Those of the table's version; None where a search compares every row."""
    hold: Hold | None = None
    """Runs promote nothing while it stands; a rollback makes it, a promotion by hand lifts it."""

    @property
    def held(self) -> dict[str, Any] | None:
        """The hold as answers tell it: at which release, since when, why."""
        return {"release": self.release, **asdict(self.hold)} if self.hold else None

    def followed_by(self, release: int, version: int, moment: str, run: str) -> Current:
        """The pointer after the next promotion, this one in its history; it holds nothing."""
        earlier = (*self.served, Served(self.release, self.table_version, self.promoted_at))
        served = tuple(one for one in earlier if one.release != release)
        return Current(release, self.table, version, moment, run, served)

    def to_bytes(self) -> bytes:
        document = json.loads(json.dumps(asdict(self)))
        document = {key: value for key, value in document.items() if value is not None}
        document["sha256"] = canonical_digest(document)
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Current:
        """Raises ContractBroken for what `to_bytes` has not written."""
        try:
            document = json.loads(data)
            # Before there was a checksum, pointers had none.
            if document.pop("sha256", None) not in (None, canonical_digest(document)):
                raise ValueError("its checksum does not match")
            served = tuple(Served(**one) for one in document.pop("served", ()))
            hold, indices = document.pop("hold", None), document.pop("indices", None)
            return cls(
                **document,
                served=served,
                indices=Indices.from_json(indices) if indices else None,
                hold=Hold(**hold) if hold else None,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContractBroken(
                f"the pointer to the served release is damaged: {error}",
                item="CURRENT",
                do="Restore the file from a copy: it names the release that readers see.",
            ) from error


def canonical_digest(document: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a document that does not hold the digest itself."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def space_key(space: SpaceSection) -> str:
    """`blurb/v2`: how a space of a collection is called in keys and columns."""
    return f"{space.name}/v{space.version}"


def items_schema(spaces: list[str], metadata: Mapping[str, str]) -> pa.Schema:
    """What `pull` writes: one row an item, with one content digest a space."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("partition", pa.string()),
            pa.field("source_uri", pa.string(), nullable=False),
            pa.field("locator", pa.string(), nullable=False),
            pa.field("row_digest", pa.string(), nullable=False),
            *(pa.field(f"digest:{space}", pa.string()) for space in spaces),
            *(pa.field(name, COLUMN_TYPES[kind]) for name, kind in metadata.items()),
        ]
    )


PLAN_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("digest", pa.string()),
        pa.field("shard", pa.string()),
    ]
)


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


REJECTS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("partition", pa.string()),
        pa.field("source_uri", pa.string()),
        pa.field("content_digest", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("retryable", pa.bool_(), nullable=False),
        pa.field("space", pa.string()),
        pa.field("run", pa.string(), nullable=False),
    ]
)


def fact_fields(spec: EncoderSpec) -> list[pa.Field]:
    """The truth columns of a space, by its modality."""
    return [pa.field(name, _FACT_TYPES[kind]) for name, kind in FACTS[spec.modality].items()]


PASSAGE_FIELDS = [
    pa.field("item", pa.string(), nullable=False),
    pa.field("passage", pa.int32(), nullable=False),
    pa.field("passage_start", pa.int32(), nullable=False),
    pa.field("passage_end", pa.int32(), nullable=False),
]
"""Which item a passage is of, its number from 0, and where it stands in the item's text.

The text is what `content_of` gives: the space's fields joined by line breaks, in NFC. The
passage is `text[passage_start:passage_end]` in Python: characters are Unicode code points.
"""


def passage_fields(spec: EncoderSpec) -> list[pa.Field]:
    """The passage columns of a space, none unless its rows are passages."""
    return PASSAGE_FIELDS if spec.overflow == "rows" else []


def vector_type(spec: EncoderSpec) -> pa.DataType:
    """The Arrow type of a vector column: float32, of the spec's width."""
    return pa.list_(pa.field("element", pa.float32()), spec.dim)


def shard_schema(spec: EncoderSpec) -> pa.Schema:
    """What `encode` writes: a vector, or a reason why there is none, for each content.

    A row with a `reason` is a failure; its vector is zeros and is never published.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("content_digest", pa.string(), nullable=False),
            pa.field("vector", vector_type(spec), nullable=False),
            *fact_fields(spec),
            pa.field("encoded_at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("run", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("message", pa.string()),
            pa.field("retryable", pa.bool_()),
        ]
    )


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
