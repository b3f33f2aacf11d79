"""Manifests: what a release consists of, as one numbered JSON object in the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import release_key, releases_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.release.indexes import IndexSettings
from commonspace.pipeline.storage.store import Store

RESTORE_HINT = (
    "`commonspace verify` lists the damage, and with `--repair` restores parts from LanceDB; "
    "restore any other file from a copy."
)


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
    """Where the encoder was loaded from; a hint, checked against the fingerprint when used."""
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
    """How fast its rows were encoded; the next plan's estimate rests on it."""
    versions: Mapping[str, str] = field(default_factory=dict)
    canary: str | None = None
    """sha256 of the space's canary.parquet; None where there was none yet."""
    changes: Mapping[str, int] = field(default_factory=dict)
    """How many rows were added, changed and removed since the parent; empty where unknown."""
    index: Mapping[str, Any] = field(default_factory=dict)
    """The owner's settings for indexes; empty for the defaults."""
    notices: tuple[Mapping[str, Any], ...] = ()
    """What its run met that is neither an item nor a reject."""
    columns: Mapping[str, str] | None = None
    """Its metadata columns by type; None in releases from when a space could not change them."""
    recipe: Mapping[str, Any] | None = None
    """What of a record was encoded; None where that was not recorded yet."""
    unterminated: tuple[str, ...] = ()
    """Files of the source that had no final line end when their rows were published, so that the
    next run does not take them for cut."""

    @property
    def index_settings(self) -> IndexSettings:
        """The indexes that its table gets."""
        return IndexSettings.from_json(self.index)

    def contract(self, stored: Contract) -> Contract:
        """What the release was published under: the space's contract, with its own columns."""
        return stored if self.columns is None else stored.with_columns(self.columns)

    def recipe_as_served(self, stored: Contract | None) -> Recipe | None:
        """Its recipe where readers are served it: that of the space's contract where it has none.

        The contract may have got it since, from a run that found the release unchanged.
        """
        recorded = Recipe.from_json(self.recipe) if self.recipe else None
        return recorded or (stored.recipe if stored else None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Release:
        parts = tuple(Part(**part) for part in value["parts"])
        lists = {"gates": tuple(value["gates"]), "notices": tuple(value.get("notices", ()))}
        lists["unterminated"] = tuple(value.get("unterminated", ()))
        return cls(**{**value, "parts": parts, **lists})


def canonical_digest(document: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of a document, which must not hold the digest itself."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def release_numbers(store: Store, name: SpaceName) -> list[int]:
    """Every release of the space, candidates included, ascending."""
    keys = store.list(releases_folder(name))
    matches = (re.search(r"/([0-9]{6,})\.json$", key) for key in keys)
    return sorted(int(match[1]) for match in matches if match)


def number_ranges(numbers: Iterable[int]) -> str:
    """The numbers as a person writes them, such as `1, 4 to 9`; `none` where there are none."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return ", ".join(" to ".join(map(str, ends)) for ends in ranges) or "none"


def load_release(store: Store, name: SpaceName, number: int) -> Release:
    """The manifest of one release.

    Raises:
        NotPublished: there is no such release, or no longer.
        ContractBroken: the manifest is damaged.
    """
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
    """Store a manifest under its number; False where another run took the number first."""
    document = release.to_json()
    document["sha256"] = canonical_digest(json.loads(json.dumps(document)))
    data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    return store.put_if_absent(release_key(name, release.number), data)
