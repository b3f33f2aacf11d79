"""Releases as they lie in the store: numbered manifests, their parts, and the pointer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from commonspace.pipeline.contract.layout import release_key, releases_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.release.indexes import IndexSettings
from commonspace.pipeline.storage.store import Store


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
    def wanted(self) -> IndexSettings:
        """The indices that its table gets."""
        return IndexSettings.from_json(self.index)

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


RESTORE_HINT = (
    "`commonspace verify` lists the damage, and with `--repair` takes parts back out of LanceDB; "
    "restore any other file from a copy."
)


def release_numbers(store: Store, name: SpaceName) -> list[int]:
    """Every release of the space, candidates included, ascending."""
    found = (re.search(r"/([0-9]{6,})\.json$", key) for key in store.list(releases_folder(name)))
    return sorted(int(match[1]) for match in found if match)


def number_ranges(held: Iterable[int]) -> str:
    """`1, 4 to 9`: numbers in words, `none` where there are none."""
    runs: list[list[int]] = []
    for number in sorted(held):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs) or "none"


def load_release(store: Store, name: SpaceName, number: int) -> Release:
    """The manifest of one release. Raises NotPublished or ContractBroken."""
    key = release_key(name, number)
    data = store.read(key)
    if data is None:
        raise NotPublished(
            f"there is no release {number} (kept: {number_ranges(release_numbers(store, name))})",
            item=str(name),
            do="`commonspace releases` lists them; a pinned release is never removed.",
        )
    try:
        document = json.loads(data.to_pybytes())
        digest = document.pop("sha256")
        if canonical_digest(document) != digest:
            raise ValueError("its checksum does not match")
        return Release.from_json(document)
    except (ValueError, TypeError, KeyError) as error:
        raise ContractBroken(f"is damaged: {error}", item=key, do=RESTORE_HINT) from error


def create_release(store: Store, name: SpaceName, release: Release) -> bool:
    """Commit a manifest under its number; False where another run took the number first."""
    document = release.to_json()
    document["sha256"] = canonical_digest(json.loads(json.dumps(document)))
    data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    return store.put_if_absent(release_key(name, release.number), data)
