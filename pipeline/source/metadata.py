"""Convert the metadata columns of a record to their declared types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonspace.pipeline.source.conversion.table import CONVERTERS, UNREADABLE
from commonspace.pipeline.source.records import Record


def convert_metadata(
    record: Record, types: Mapping[str, str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The metadata columns, converted to the types declared for them; missing ones are None.

    Returns:
        the values by column, and the columns whose value cannot be read, which are None too.
    """
    found = record.values
    values: dict[str, Any] = {}
    bad_columns: tuple[str, ...] = ()
    for name, kind in types.items():
        value = found.get(name)
        try:
            values[name] = CONVERTERS[kind][type(value)](value)
        except (KeyError, *UNREADABLE):  # `convert` without its call: this is every cell
            values[name] = None
            bad_columns += (name,)
    return values, bad_columns
