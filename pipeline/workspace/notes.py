"""The records that one stage leaves for the next: small JSON files in a run's folder.

Here are the two that every stage needs. Any other stands beside its maker: `CanaryNote`,
`SpotCheckResult`, `EncodeNote`, `Verdict`, `PublishNote`, `PromotionNote`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, Self, cast

from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.source.notices import NoticeCount
from commonspace.pipeline.source.records import EVERYTHING, Scope

PULLED = ("run", "records", "items", "rejected", "seconds")
"""The fields of a `RunNote` that are what `pull` counted."""


class Note(Protocol):
    """A record of one stage for later ones.

    FILE: its name in the folder of the run's work on a space. A `*` stands for what tells
    several notes apart: the key of a shard, or something random for each process.
    """

    FILE: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        ...

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The record of a file; keys that files of earlier commits lack have their defaults."""
        ...


class PlainNote:
    """A dataclass whose file holds its fields by their names: numbers, texts, tuples of them."""

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(cast(Any, self))}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        values = known_fields(cls, document)
        return cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


@dataclass(frozen=True, kw_only=True)
class RunNote:
    """What `pull` found, and how the run was started: `run.json`, one for all spaces of a run."""

    FILE: ClassVar[str] = "run.json"

    run: str
    records: int
    items: int
    rejected: int
    seconds: float
    bad_cells: int = 0
    """Items with metadata that cannot be read."""
    notices: tuple[NoticeCount, ...] = ()
    scope: Scope = EVERYTHING
    retry_rejects: bool = False
    force: bool = False
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """By `space_key`, what the contents were made of; empty in runs of earlier commits."""
    delete_missing: bool = False

    def pulled(self) -> dict[str, Any]:
        """The part that `pull` answers: its counts."""
        return {name: getattr(self, name) for name in PULLED}

    def to_json(self) -> dict[str, Any]:
        ids = None if self.scope.ids is None else sorted(self.scope.ids)
        return {
            **self.pulled(),
            "bad_cells": self.bad_cells,
            "notices": [notice.to_json() for notice in self.notices],
            "scope": {"partition": self.scope.partition, "ids": ids},
            "retry_rejects": self.retry_rejects,
            "force": self.force,
            "recipes": {space: recipe.to_json() for space, recipe in self.recipes.items()},
            "delete_missing": self.delete_missing,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        scope = document["scope"]
        ids = None if scope["ids"] is None else frozenset(scope["ids"])
        values = known_fields(cls, document)
        notices = tuple(map(NoticeCount.from_json, document.get("notices", ())))
        recipes = {n: Recipe.from_json(r) for n, r in document.get("recipes", {}).items()}
        values |= {"notices": notices, "recipes": recipes, "scope": Scope(scope["partition"], ids)}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class PlanSummary(PlainNote):
    """A plan in numbers.

    Attributes:
        base: The number of the release that it was made from; 0 where there is none.
        fingerprint: That of the space's encoder spec.
        offered: Items (or passages) that the source offers, those that `pull` rejected included.
        absent: Items without content for the space.
        shards: The keys of the shards to encode.
        rejected_by_pull: Records that are rejected for the space before anything is encoded: by
            `pull`, and by the plan as the last ones of cut files.
        encode, reuse, keep, reject, delete: Items by action, as `make_plan` explains them.
        estimated_seconds: Of encoding; None where the pace is not known.
        seconds: What planning took.
        notices: What the run met that is neither an item nor a reject, by `pull` and by the plan.
        staying: Published rows that stay although they are not offered: their file is gone, empty,
            cut or unreadable, or holds a record that nobody can read.
        unterminated: Files of the source that are known to be written without a final line end.
    """

    FILE: ClassVar[str] = "plan.json"

    base: int
    fingerprint: str
    offered: int
    absent: int
    shards: tuple[str, ...]
    rejected_by_pull: int
    encode: int
    reuse: int
    keep: int
    reject: int
    delete: int
    estimated_seconds: float | None
    seconds: float
    notices: tuple[NoticeCount, ...] = ()
    staying: int = 0
    unterminated: tuple[str, ...] = ()

    @property
    def rejected(self) -> int:
        """All rejects that the plan knows of."""
        return self.reject + self.rejected_by_pull

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "notices": [notice.to_json() for notice in self.notices]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        notices = tuple(map(NoticeCount.from_json, document.get("notices", ())))
        return super().from_json({**document, "notices": notices})


def known_fields(kind: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What a document says about the fields of a dataclass; other keys are of a later commit."""
    return {field.name: document[field.name] for field in fields(kind) if field.name in document}


def as_stored(document: dict[str, Any]) -> dict[str, Any]:
    """The document as a note's file gives it back, its keys in alphabetical order.

    What is printed of notes has always had this order, whether it was read or just made.
    """
    return dict(json.loads(json.dumps(document, sort_keys=True)))
