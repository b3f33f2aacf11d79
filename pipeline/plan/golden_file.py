"""The file of a space's golden queries: what its owner searches for, and what must be found.

{"query": "a whale hunt", "ids": ["moby-dick"]}
{"image": "covers/whale.jpg", "ids": ["moby-dick", "leviathan"], "k": 5}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from commonspace.encoders.protocol import Content
from commonspace.pipeline.errors import UserMistake, did_you_mean
from commonspace.pipeline.source.file_access import too_large


@dataclass(frozen=True)
class GoldenQuery:
    """One line: a query, and the ids that must be among the first `k` rows found.

    shown: The query as messages quote it.
    """

    shown: str
    content: Content
    ids: Sequence[str]
    k: int


def read_golden(
    path: Path, modalities: AbstractSet[str], max_image_bytes: int
) -> list[GoldenQuery]:
    """The golden queries of a file; image paths are relative to its folder.

    Args:
        path: JSON Lines, in UTF-8.
        modalities: what a query of the space may be, `text` or `image`.
        max_image_bytes: what a file of an image may have at most.

    Raises:
        UserMistake: naming the first wrong line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not valid UTF-8"
        raise UserMistake(f"the golden queries cannot be read: {why}", item=str(path)) from error
    queries = [
        _parse_line(line, path.parent, modalities, f"{path}, line {number}", max_image_bytes)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not queries:
        raise UserMistake(
            "the file has no golden query", item=str(path), do="Leave `golden` out, or add one."
        )
    return queries


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    query: str | None = Field(default=None, min_length=1)
    image: str | None = Field(default=None, min_length=1)
    ids: list[str] = Field(min_length=1)
    k: int = Field(default=10, ge=1, le=1000)

    @model_validator(mode="after")
    def _coherent(self) -> _Line:
        if (self.query is None) == (self.image is None):
            raise ValueError("a line needs exactly one of `query` (text) and `image` (a path)")
        try:
            "".join([self.query or "", self.image or "", *self.ids]).encode()
        except UnicodeEncodeError as error:
            raise ValueError("a lone surrogate is not valid Unicode") from error
        if self.query is not None and not self.query.strip():
            raise ValueError("the query is blank")
        if len(set(self.ids)) < len(self.ids):
            raise ValueError("`ids` has the same id twice")
        if len(self.ids) > self.k:
            raise ValueError(f"{len(self.ids)} ids cannot be among the first {self.k}: raise `k`")
        return self


def _parse_line(
    line: str, folder: Path, modalities: AbstractSet[str], location: str, max_bytes: int
) -> GoldenQuery:
    try:
        given = _Line.model_validate(json.loads(line))
    except ValidationError as error:
        raise UserMistake(_explain(error.errors()[0]), item=location) from error
    except (ValueError, RecursionError) as error:
        raise UserMistake(f"the line is not valid JSON: {error}", item=location) from error
    kind = "image" if given.query is None else "text"
    if kind not in modalities:
        raise UserMistake(f"the space cannot be searched by {kind}", item=location)
    if given.query is not None:
        return GoldenQuery(repr(given.query[:60]), given.query, given.ids, given.k)
    content = _read_image(folder, str(given.image), location, max_bytes)
    return GoldenQuery(repr(given.image), content, given.ids, given.k)


def _read_image(folder: Path, image: str, location: str, max_bytes: int) -> bytes:
    path = folder / image
    try:
        if not path.is_file():
            raise UserMistake(f"there is no image {image!r}", item=location)
        if path.stat().st_size > max_bytes:
            raise UserMistake(too_large(repr(image), max_bytes).message, item=location)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserMistake(f"the image {image!r} cannot be read: {why}", item=location) from error


def _explain(error: ErrorDetails) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}" + did_you_mean(key, _Line.model_fields)
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
