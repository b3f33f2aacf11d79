"""Manifests: what a release consists of, as one numbered JSON object in the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.columns import COLUMN_TYPES
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.documents import (
    DAMAGE,
    check_types,
    damage,
    made,
    read_document,
)
from commonspace.pipeline.contract.layout import (
    parts_folder,
    rejects_folder,
    release_key,
    releases_folder,
)
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.release.indexes import IndexSettings
from commonspace.pipeline.storage.store import Store

Value = TypeVar("Value")
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


_CHANGES = frozenset({"added", "changed", "removed"})


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
        return self._read(self.index, IndexSettings.from_json)

    def contract(self, stored: Contract) -> Contract:
        """What the release was published under: the space's contract, with its own columns."""
        return stored if self.columns is None else stored.with_columns(self.columns)

    def recipe_as_served(self, stored: Contract | None) -> Recipe | None:
        """Its recipe where readers are served it: that of the space's contract where it has none.

        The contract may have got it since, from a run that found the release unchanged.
        """
        recorded = self._read(self.recipe, Recipe.from_json) if self.recipe else None
        return recorded or (stored.recipe if stored else None)

    def _read(self, value: Any, parse: Callable[[Any], Value]) -> Value:
        """What a nested document stands for. Raises ContractBroken."""
        try:
            made = parse(value)
            check_types(made)
        except DAMAGE as error:
            what = f"the manifest of release {self.number} is damaged: {damage(error)}"
            raise ContractBroken(what, item=self.space, do=RESTORE_HINT) from error
        return made

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Release:
        parts = tuple(made(Part, part) for part in value["parts"])
        lists = {"gates": tuple(value["gates"]), "notices": tuple(value.get("notices", ()))}
        lists["unterminated"] = tuple(value.get("unterminated", ()))
        return made(cls, {**value, "parts": parts, **lists})

    def check(self, name: SpaceName, number: int) -> None:
        """Refuse what nobody can read, and what leads out of the space.

        Args:
            name: the space that the release must be of.
            number: that of its manifest's file.

        Raises:
            ValueError or another error of `documents.DAMAGE`: it is damaged.
        """
        if (self.space, self.number) != (str(name), number):
            raise ValueError(f"it is release {self.number} of {self.space}")
        if self.parent >= number:
            raise ValueError(f"it is made from release {self.parent}")
        for part in self.parts:
            _check_within(part.key, parts_folder(name))
        if self.rejects is not None:
            _check_within(self.rejects["key"], rejects_folder(name))
            check_types(
                _Rejects(
                    self.rejects["sha256"],
                    self.rejects["rows"],
                    self.rejects.get("by_reason", {}),
                )
            )
        if self.changes and self.changes.keys() != _CHANGES:
            raise ValueError(f"its changes are not {', '.join(sorted(_CHANGES))}")
        if self.columns is not None and not set(self.columns.values()) <= COLUMN_TYPES.keys():
            raise ValueError("a column has no known type")
        check_types(EncoderSpec.from_json(self.spec))


@dataclass(frozen=True)
class _Rejects:
    """What a manifest says of the rejects beside their key."""

    sha256: str
    rows: int
    by_reason: Mapping[str, int]


def _check_within(key: Any, folder: str) -> None:
    if not isinstance(key, str) or not key.startswith(f"{folder}/") or ".." in key.split("/"):
        raise ValueError(f"{key!r:.200} is no file of {folder}")


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

    def parse(document: Any) -> Release:
        digest = document.pop("sha256")
        if canonical_digest(document) != digest:
            raise ValueError("its checksum does not match")
        release = Release.from_json(document)
        check_types(release)
        release.check(name, number)
        return release

    return read_document(data, key, parse, do=RESTORE_HINT)


def create_release(store: Store, name: SpaceName, release: Release) -> bool:
    """Store a manifest under its number; False where another run took the number first."""
    document = release.to_json()
    document["sha256"] = canonical_digest(json.loads(json.dumps(document)))
    data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    return store.put_if_absent(release_key(name, release.number), data)
