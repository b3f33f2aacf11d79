"""A whole collection file: one TOML file says what is pulled, encoded and published.

Importing this is light (pydantic only), so that a scheduler can parse hundreds of files.
"""

from __future__ import annotations

import glob
import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import Field, PrivateAttr, field_validator, model_validator

from commonspace.encoders.reference import EncoderReference
from commonspace.pipeline.config.column_names import PASSAGE_COLUMNS, fold_name
from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.config.sections import (
    CollectionSection,
    GatesSection,
    LimitsSection,
    RunSection,
    SourceSection,
    SpaceSection,
    _Section,
)
from commonspace.pipeline.contract.name import SpaceReference
from commonspace.pipeline.errors import UserMistake, did_you_mean
from commonspace.pipeline.release.indexes import IndexSettings

LONGEST_APPROVAL = timedelta(days=6)
"""Promotion needs the run's folder, which is removed after a week."""


class Collection(_Section):
    """A whole collection file, validated; `path` is the file's own."""

    collection: CollectionSection
    source: SourceSection
    space: tuple[SpaceSection, ...]
    gates: GatesSection = GatesSection()
    limits: LimitsSection = LimitsSection()
    run: RunSection = RunSection()
    path: Path = Field(exclude=True)
    _content_columns: tuple[str, ...] = PrivateAttr(default=())

    def model_post_init(self, _: Any) -> None:
        columns = [c for space in self.space for c in (*space.fields, space.image) if c]
        self._content_columns = tuple(sorted(set(columns)))

    @field_validator("space")
    @classmethod
    def _check_distinct(cls, value: tuple[SpaceSection, ...]) -> tuple[SpaceSection, ...]:
        if not value:
            raise ValueError("at least one [[space]] is needed")
        if len({(space.name, space.version) for space in value}) < len(value):
            raise ValueError("two spaces have the same name and version")
        return value

    @model_validator(mode="after")
    def _check_columns(self) -> Collection:
        clash = sorted(name for name in self.source.metadata if fold_name(name) in PASSAGE_COLUMNS)
        if clash and any(space.overflow == "rows" for space in self.space):
            raise ValueError(f'`overflow = "rows"` adds columns of these names: {", ".join(clash)}')
        strings = [name for name, kind in self.source.metadata.items() if kind == "string"]
        for column in (name for space in self.space for name in space.text_index):
            if column not in strings:
                hint = did_you_mean(column, strings) or " (there is none)"
                raise ValueError(
                    f"`text_index` names {column!r}, which is not a string column of the source's "
                    f"`metadata`{hint}"
                )
        return self

    @model_validator(mode="after")
    def _check_consistent(self) -> Collection:
        is_manual = any(not self.promotes(space) for space in self.space)
        if self.collection.approve_within and not is_manual:
            raise ValueError('`approve_within` needs `promote = "manual"`')
        if (self.collection.approve_within or timedelta(0)) > LONGEST_APPROVAL:
            raise ValueError("`approve_within` is at most 6d: a run's folder is kept for a week")
        if self.collection.partitions and "{partition}" not in self.source.uri:
            raise ValueError("`partitions` needs `{partition}` in the source's `uri`")
        return self

    @model_validator(mode="before")
    @classmethod
    def _make_roots_absolute(cls, document: dict[str, Any]) -> dict[str, Any]:
        """Resolve `image_root` and `link_roots` against the file's own folder."""
        source, folder = document.get("source"), document["path"].parent
        if not isinstance(source, dict):
            return document
        made = dict(source)
        if _is_path(root := source.get("image_root")):
            made["image_root"] = _resolve(root, folder)
        if isinstance(roots := source.get("link_roots"), list):
            made["link_roots"] = [_resolve(r, folder) if _is_path(r) else r for r in roots]
        return {**document, "source": made}

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def content_columns(self) -> tuple[str, ...]:
        """Every column that a space of the file encodes, also one that a run leaves out; sorted."""
        return self._content_columns

    @cached_property
    def source_uri(self) -> str:
        """The source's path or glob; a relative one is resolved against the file's folder."""
        return _resolve(self.source.uri, Path(glob.escape(str(self.path.parent))))

    def find_space(self, name: str, version: int | None = None) -> SpaceSection:
        """The space of that name; the highest version where none is given.

        Raises:
            UserMistake: the collection has no such space or version.
        """
        matches = [s for s in self.space if s.name == name and version in (None, s.version)]
        if not matches:
            raise UserMistake(
                f"collection {self.name} has no space {name!r}"
                + (f" v{version}" if version else "")
                + did_you_mean(name, [s.name for s in self.space])
            )
        return max(matches, key=lambda space: space.version)

    def resolve_space(self, text: str) -> SpaceSection:
        """The space that a text such as `blurb` or `blurb/v2` names.

        Raises:
            UserMistake: the text is malformed, or the collection has no such space or version.
        """
        reference = SpaceReference.parse_within(self.name, text)
        return self.find_space(reference.space, reference.version)

    def check_partition(self, key: str) -> None:
        """Refuse what names no partition; where the file declares no period, any key may.

        Raises:
            UserMistake: the key is not one of the declared period.
        """
        period = self.collection.partitions
        if period is None:
            return
        try:
            CADENCES[period].partition_start(key)
        except ValueError as error:
            raise UserMistake(
                f"{key!r} names no {period}",
                do=f"Partitions are written like {CADENCES[period].example}.",
            ) from error

    def promotes(self, space: SpaceSection) -> bool:
        """Whether a run promotes the space's release itself, or leaves that to a person."""
        return (space.promote or self.collection.promote) == "auto"

    def golden_file(self, space: SpaceSection) -> Path | None:
        """The file of a space's golden queries, if any, resolved against this file's folder."""
        return None if space.golden is None else Path(_resolve(space.golden, self.path.parent))

    def index_settings(self, space: SpaceSection) -> IndexSettings:
        """The indexes that the space's table gets."""
        text_columns = tuple(sorted(set(space.text_index)))
        return IndexSettings(space.vector_index, text_columns, self.gates.min_index_recall)

    def encoder_reference(self, space: SpaceSection) -> EncoderReference:
        """The encoder of a space as the file names it, with paths made absolute."""
        name, weights, folder = space.encoder, space.weights, self.path.parent
        if name.startswith((".", "/", "~")):
            name = _resolve(name, folder)
        if weights and weights.endswith((".safetensors", ".pth", ".pt")):
            weights = _resolve(weights, folder)
        return EncoderReference(
            name,
            space.modality,
            revision=space.revision,
            weights=weights,
            layer=space.layer,
            pooling=space.pooling,
            overflow=space.overflow,
            dimensions=space.dimensions,
            precision=space.precision,
            decoder=space.decoder,
        )


def _is_path(value: Any) -> TypeGuard[str]:
    """Whether it may be a path; what is not is left for the field's own check."""
    return isinstance(value, str) and "://" not in value


def _resolve(path: str, folder: Path) -> str:
    expanded = Path(os.path.expanduser(path))  # noqa: PTH111 - unlike Path's it never raises
    return os.path.normpath(expanded if expanded.is_absolute() else folder / expanded)
