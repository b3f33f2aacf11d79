"""The sections of a collection file: their keys, defaults and limits."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from commonspace.encoders.spec import Modality
from commonspace.pipeline.config.column_names import check_column_names
from commonspace.pipeline.config.names import AirflowName, AssetName, CollectionName, Name
from commonspace.pipeline.config.periods import Duration, Period, PositiveDuration, schedule_problem
from commonspace.pipeline.config.source_keys import (
    csv_marks_problem,
    foreign_keys_problem,
    id_problem,
    newest_problem,
)
from commonspace.pipeline.release.indexes import MIN_RECALL, VectorChoice

ColumnType = Literal[
    "string", "int64", "float64", "bool", "timestamp",
    "timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]",
]  # fmt: skip
KEEP_RELEASES = 10
"""How many releases of a space `retain` keeps by default."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _list_as_tuple(cls, value: Any) -> Any:
        """TOML's arrays arrive as lists, which a strict tuple field would refuse."""
        return tuple(value) if isinstance(value, list) else value


class CollectionSection(_Section):
    """Who owns the collection, when it runs, and how its releases are promoted and kept."""

    name: CollectionName
    owner: str = Field(max_length=1000)
    schedule: str | None = None
    description: str = ""
    promote: Literal["auto", "manual"] = "auto"
    keep_releases: int = Field(default=KEEP_RELEASES, ge=1)
    partitions: Period | None = None
    late_by: Duration | None = None
    schedule_on: tuple[AssetName, ...] = ()
    fresh_within: Duration | None = None
    deadline: PositiveDuration | None = None
    approve_within: PositiveDuration | None = None

    @model_validator(mode="after")
    def _check_schedule(self) -> CollectionSection:
        if self.schedule_on and self.schedule:
            raise ValueError("`schedule` and `schedule_on` cannot both be set")
        if self.partitions is None and self.late_by:
            raise ValueError("`late_by` delays the run of a partition: it needs `partitions`")
        if self.deadline and self.late_by and self.deadline <= self.late_by:
            raise ValueError("`deadline` must be longer than `late_by`, for which a run may wait")
        if self.partitions and not self.schedule_on:
            problem = schedule_problem(self.partitions, self.schedule)
            if problem:
                raise ValueError(problem)
        return self


class SourceSection(_Section):
    """Where items come from.

    uri: a path or a glob; `{partition}` stands for the part of the path that names a partition.
    """

    kind: Literal["folder", "csv", "jsonl", "parquet"]
    uri: str = Field(min_length=1)
    id: str = ""
    generate_id: Literal["row", "content"] | None = None
    metadata: dict[str, ColumnType] = {}
    newest: str | None = None
    encoding: str = "utf-8"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    escape: str | None = Field(default=None, min_length=1, max_length=1)
    comment: str | None = Field(default=None, min_length=1)
    columns: tuple[str, ...] | None = None
    image_root: str | None = None
    link_roots: tuple[str, ...] = ()
    text_suffixes: tuple[str, ...] = (".txt", ".md", ".rst")
    image_suffixes: tuple[str, ...] = (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff",
        ".avif", ".heic", ".heif", ".hif",
    )  # fmt: skip

    @property
    def published_types(self) -> dict[str, str]:
        """The type of each metadata column in a release, where a timestamp has no unit."""
        return {name: kind.partition("[")[0] for name, kind in self.metadata.items()}

    @field_validator("metadata", mode="before")
    @classmethod
    def _names_as_string_columns(cls, value: Any) -> Any:
        is_names = isinstance(value, list) and all(isinstance(name, str) for name in value)
        return dict.fromkeys(value, "string") if is_names else value

    @field_validator("metadata")
    @classmethod
    def _check_column_names(cls, value: dict[str, ColumnType]) -> dict[str, ColumnType]:
        check_column_names(value)
        return value

    @field_validator("uri", "image_root", "link_roots")
    @classmethod
    def _check_local(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for path in value if isinstance(value, tuple) else [value]:
            if path and "://" in path:
                raise ValueError("must be a path: URLs are not supported yet")
        return value

    @field_validator("delimiter", "escape")
    @classmethod
    def _check_mark(cls, value: str | None) -> str | None:
        if value in {'"', "\r", "\n"}:
            raise ValueError("cannot be a quote or a line break")
        return value

    @field_validator("columns")
    @classmethod
    def _check_distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < max(len(value), 1):
            raise ValueError("must be distinct names, at least one")
        return value

    @field_validator("text_suffixes", "image_suffixes")
    @classmethod
    def _check_suffixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        invalid = [suffix for suffix in value if not re.fullmatch(r"\*|\.[^./]+", suffix)]
        if invalid:
            raise ValueError(f'a suffix is written ".txt" (one dot), or "*" for any: {invalid}')
        return value

    @model_validator(mode="after")
    def _check_keys(self) -> SourceSection:
        problem = (
            foreign_keys_problem(self, self.kind)
            or id_problem(self.kind, self.id, self.generate_id, has_metadata=bool(self.metadata))
            or csv_marks_problem(self.delimiter, self.escape, self.comment)
            or newest_problem(self.newest, self.metadata, self.generate_id)
        )
        if problem:
            raise ValueError(problem)
        return self


class SpaceSection(_Section):
    """One space: which content is encoded, by which encoder, under which version."""

    name: Name
    version: int = Field(default=1, ge=1)
    encoder: str = Field(min_length=1)
    revision: str | None = None
    weights: str | None = None
    layer: str | None = None
    pooling: Literal["average", "max"] | None = None
    overflow: Literal["truncate", "mean", "rows"] | None = None
    dimensions: int | None = Field(default=None, ge=1)
    precision: Literal["fp32", "fp16", "bf16"] | None = None
    decoder: Literal["pillow", "nvjpeg"] | None = None
    fields: tuple[str, ...] = ()
    image: str | None = None
    promote: Literal["auto", "manual"] | None = None
    golden: str | None = Field(default=None, min_length=1)
    vector_index: VectorChoice = "auto"
    text_index: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_content(self) -> SpaceSection:
        if bool(self.fields) == bool(self.image):
            raise ValueError("a space needs exactly one of `fields` (text) and `image`")
        return self

    @property
    def modality(self) -> Modality:
        return "image" if self.image else "text"


class GatesSection(_Section):
    """The limits of the gates: a run that exceeds one publishes nothing."""

    max_reject_share: float = Field(default=0.01, ge=0, le=1)
    max_bad_cell_share: float | None = Field(default=None, ge=0, le=1)
    max_deleted_share: float = Field(default=0.2, ge=0, le=1)
    max_duplicate_vectors: float = Field(default=0.05, ge=0, le=1)
    max_unknown_share: float = Field(default=0.05, ge=0, le=1)
    max_drift: float = Field(default=0.25, ge=0, le=1)
    min_golden_recall: float = Field(default=1.0, ge=0, le=1)
    spot_rows: int = Field(default=16, ge=0, le=10_000)
    min_index_recall: float = Field(default=MIN_RECALL, ge=0, le=1)


class LimitsSection(_Section):
    """How much memory and time one item may take; one beyond a limit is rejected."""

    max_record_bytes: int = Field(default=64 * 2**20, ge=1)
    max_file_bytes: int = Field(default=256 * 2**20, ge=1)
    max_image_pixels: int = Field(default=50_000_000, ge=1, le=178_000_000)
    max_image_frames: int = Field(default=5_000, ge=1)
    max_image_scans: int = Field(default=100, ge=1)
    max_image_seconds: float = Field(default=30.0, ge=1)


class RunSection(_Section):
    """How a run is divided and scheduled; none of it changes a vector."""

    shard_rows: int = Field(default=4096, ge=1)
    pool: AirflowName = "default_pool"
    queue: AirflowName | None = None
    parallel_runs: int | None = Field(default=None, ge=1)


def space_key(space: SpaceSection) -> str:
    """The space's name within its collection, such as `blurb/v2`, in keys and columns."""
    return f"{space.name}/v{space.version}"
