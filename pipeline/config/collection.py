"""The collection file: one TOML file says what is pulled, encoded and published.

Loading is light (pydantic only), so that a scheduler can parse hundreds of files.
"""

from __future__ import annotations

import glob
import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from commonspace.encoders.reference import EncoderReference
from commonspace.pipeline.config.sections import (
    PASSAGE_COLUMNS,
    CollectionSection,
    GatesSection,
    RunSection,
    SourceSection,
    SpaceSection,
    _Section,
)
from commonspace.pipeline.contract.name import SpaceReference
from commonspace.pipeline.errors import UserMistake, near
from commonspace.pipeline.release.indexes import IndexSettings

LONGEST_APPROVAL = timedelta(days=6)
"""A run's folder, which its promotion needs, is kept for a week."""


class Collection(_Section):
    """A whole collection file, checked."""

    collection: CollectionSection
    source: SourceSection
    space: tuple[SpaceSection, ...]
    gates: GatesSection = GatesSection()
    run: RunSection = RunSection()
    path: Path = Field(exclude=True)

    @field_validator("space", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("space")
    @classmethod
    def _distinct(cls, value: tuple[SpaceSection, ...]) -> tuple[SpaceSection, ...]:
        if not value:
            raise ValueError("at least one [[space]] is needed")
        if len({(space.name, space.version) for space in value}) < len(value):
            raise ValueError("two spaces share a name and a version")
        return value

    @model_validator(mode="after")
    def _columns(self) -> Collection:
        clash = sorted(PASSAGE_COLUMNS & self.source.metadata.keys())
        if clash and any(space.overflow == "rows" for space in self.space):
            raise ValueError(f'`overflow = "rows"` makes these columns: {", ".join(clash)}')
        texts = [name for name, kind in self.source.metadata.items() if kind == "string"]
        for column in (name for space in self.space for name in space.text_index):
            if column not in texts:
                known = near(column, texts) or " (there is none)"
                raise ValueError(
                    f"`text_index` names {column!r}, which is no column of strings in the source's "
                    f"`metadata`{known}"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Collection:
        by_hand = any(not self.promotes(space) for space in self.space)
        if self.collection.approve_within and not by_hand:
            raise ValueError('`approve_within` needs `promote = "manual"`')
        if (self.collection.approve_within or timedelta(0)) > LONGEST_APPROVAL:
            raise ValueError("`approve_within` is at most 6d: a run's folder is kept for a week")
        if self.collection.partitions and "{partition}" not in self.source.uri:
            raise ValueError("`partitions` needs `{partition}` in the source's `uri`")
        return self

    @model_validator(mode="before")
    @classmethod
    def _absolute(cls, document: dict[str, Any]) -> dict[str, Any]:
        """The file with its `image_root` resolved against its own folder."""
        source, folder = document.get("source"), document["path"].parent
        if not isinstance(source, dict):
            return document
        root = source.get("image_root")
        if not isinstance(root, str) or "://" in root:
            return document
        return {**document, "source": {**source, "image_root": _resolve(root, folder)}}

    @property
    def name(self) -> str:
        return self.collection.name

    @cached_property
    def source_uri(self) -> str:
        """The source's path or glob, relative ones resolved against the file's folder."""
        return _resolve(self.source.uri, Path(glob.escape(str(self.path.parent))))

    def find_space(self, name: str, version: int | None = None) -> SpaceSection:
        """The space of that name; the highest version where none is asked for."""
        found = [s for s in self.space if s.name == name and version in (None, s.version)]
        if not found:
            raise UserMistake(
                f"collection {self.name} has no space {name!r}"
                + (f" v{version}" if version else "")
                + near(name, [s.name for s in self.space])
            )
        return max(found, key=lambda space: space.version)

    def find_space_named(self, text: str) -> SpaceSection:
        """The space that `space` or `space/vN` names. Raises UserMistake."""
        named = SpaceReference.parse_within(self.name, text)
        return self.find_space(named.space, named.version)

    def promotes(self, space: SpaceSection) -> bool:
        """Whether a run promotes the space's release, or leaves it to a person."""
        return (space.promote or self.collection.promote) == "auto"

    def golden(self, space: SpaceSection) -> Path | None:
        """The file of a space's golden queries, a relative one resolved against this file's."""
        return None if space.golden is None else Path(_resolve(space.golden, self.path.parent))

    def index_settings(self, space: SpaceSection) -> IndexSettings:
        """The indices that the space's table gets."""
        text = tuple(sorted(set(space.text_index)))
        return IndexSettings(space.vector_index, text, self.gates.min_index_recall)

    def reference(self, space: SpaceSection) -> EncoderReference:
        """The encoder of a space as its owner named it, with paths made absolute."""
        name, weights, folder = space.encoder, space.weights, self.path.parent
        if name.startswith((".", "/", "~")):
            name = _resolve(name, folder)
        if weights and weights.endswith((".safetensors", ".pth", ".pt")):
            weights = _resolve(weights, folder)
        return EncoderReference(
            name,
            space.modality,
            space.revision,
            weights,
            space.layer,
            space.pooling,
            space.overflow,
            space.dimensions,
            space.precision,
            space.decoder,
        )


def _resolve(path: str, folder: Path) -> str:
    expanded = Path(os.path.expanduser(path))  # noqa: PTH111 - unlike Path's it never raises
    return os.path.normpath(expanded if expanded.is_absolute() else folder / expanded)
