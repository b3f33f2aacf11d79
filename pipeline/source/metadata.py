"""Convert the metadata columns of a record to their declared types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.conversion.table import UNREADABLE, convert
from commonspace.pipeline.source.records import Record


def convert_metadata(record: Record, types: Mapping[str, str]) -> dict[str, Any] | Failure:
    """The metadata columns, converted to the types declared for them; missing ones are None."""
    values: dict[str, Any] = {}
    for name, kind in types.items():
        try:
            values[name] = convert(record.values.get(name), kind)
        except UNREADABLE:
            return Failure(Reason.BAD_METADATA, f"column {name!r} cannot be read as {kind}")
    return values
