"""Convert the metadata columns of a record to their declared types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonspace.pipeline.source.conversion.table import CONVERTERS, UNREADABLE, Converter

ColumnConverters = Mapping[str, Mapping[type, Converter]]
"""By column, then by the type of what a source gave."""


def column_converters(types: Mapping[str, str]) -> ColumnConverters:
    """What `convert_metadata` takes, for these declared types by column."""
    return {name: CONVERTERS[kind] for name, kind in types.items()}


def convert_metadata(
    found: Mapping[str, Any], converters: ColumnConverters
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The metadata columns, converted to the types declared for them; missing ones are None.

    Args:
        found: the values of a record.
        converters: as `column_converters` gives them.

    Returns:
        the values by column, and the columns whose value cannot be read, which are None too.
    """
    values: dict[str, Any] = {}
    bad_columns: tuple[str, ...] = ()
    for name, of_type in converters.items():
        value = found.get(name)
        try:
            values[name] = of_type[type(value)](value)
        except (KeyError, *UNREADABLE):  # `convert` without its call: this is every cell
            values[name] = None
            bad_columns += (name,)
    return values, bad_columns
