"""The id of a record: its column's value, or one that is made where a table has no such column.

| `generate_id` | the id                                | where the record changes             |
|---------------|---------------------------------------|--------------------------------------|
| `"row"`       | `books.csv#12`: file and number in it | the same, if as many stand before it |
| `"content"`   | a digest of what spaces encode of it  | another one: it is another item      |
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.source.content import parse_id
from commonspace.pipeline.source.conversion.table import UNREADABLE, convert
from commonspace.pipeline.source.images.value import is_image_struct
from commonspace.pipeline.source.records import Record, sha256_hex

DIGITS = 32
"""Of the digest in an id: 128 bits."""
_NUMBER = re.compile(r"\brecord (\d+)")


def record_id(record: Record, collection: Collection) -> str | Failure | None:
    """The stable id of a record, or why it has none.

    Returns:
        None where the id is that of the content, and there is none.
    """
    section = collection.source
    if section.generate_id is None:
        return parse_id(record.values.get(section.id if section.kind != "folder" else "id"))
    if section.generate_id == "row":
        return _row_id(record)
    return content_id(record.values, collection.content_columns)


def id_column(collection: Collection) -> str | None:
    """The column or field that holds the id; None where ids are made."""
    return "id" if collection.source.kind == "folder" else collection.source.id or None


def content_id(values: Mapping[str, Any], columns: Sequence[str]) -> str | Failure | None:
    """The digest of what is in the columns, the same for CSV, JSON Lines and Parquet.

    An image counts by its bytes, or by its path where the record has only that. What is null is
    left out, so that a column that a record does not have changes nothing.

    Args:
        values: of a record.
        columns: sorted.

    Returns:
        32 hex digits; None where every column is null; why a value has no digest.
    """
    pairs = []
    for column in columns:
        try:
            value = _identity(values.get(column))
        except UNREADABLE:
            kind = type(values.get(column)).__name__
            message = f"no id is made of the content: {column!r} is of type {kind}"
            return Failure(Reason.BAD_ID, message)
        if value is not None:
            pairs.append([column, value])
    return sha256_hex(json.dumps(pairs))[:DIGITS] if pairs else None


def _identity(value: Any) -> Any:
    """What stands for a value in the digest; None for null."""
    if type(value) is str:
        return unicodedata.normalize("NFC", value) or None
    if isinstance(value, Mapping) and is_image_struct(value):
        content = value.get("bytes")
        return _identity(value.get("path") if content is None else content)
    if isinstance(value, bytes):
        return {"sha256": sha256_hex(value)}
    if isinstance(value, list):
        return [part for part in map(_identity, value) if part is not None] or None
    return convert(value, "string")


def _row_id(record: Record) -> str | Failure:
    match = _NUMBER.search(record.place or "")
    return parse_id(f"{record.origin}#{match[1] if match else ''}")
