"""The columns, the filter and the number of rows that a search names, checked before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import UserMistake, did_you_mean

Where = str | Mapping[str, Any] | None
"""A SQL condition, the values that columns must equal, or nothing."""


def checked_columns(contract: Contract, columns: Sequence[str] | None, where: Where) -> list[str]:
    """The columns to return, `id` among them; by default all but the vector.

    Raises:
        UserMistake: a column is unknown, or `where` compares one with a value it cannot hold.
    """
    schema = contract.schema
    names = [name for name in schema.names if name != "vector"]
    chosen = ["id", *(name for name in columns if name != "id")] if columns is not None else names
    values = where if isinstance(where, Mapping) else {}
    for column in [*chosen, *values]:
        if column not in schema.names:
            raise UserMistake(
                f"{contract.space} has no column {column!r}" + did_you_mean(column, names)
            )
    for column, value in values.items():
        _check_value(column, schema.field(column).type, value)
    return chosen


def checked_limit(k: int, rows: int) -> int:
    """How many rows to look for: k, or all of them and one more where the release has fewer.

    Raises:
        UserMistake: k is no whole number, or below 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise UserMistake(f"k is {k!r}; it must be a whole number")
    if k < 1:
        raise UserMistake(f"k is {k}; it must be at least 1")
    return min(int(k), rows + 1)  # LanceDB reserves memory for as many rows as it is asked for


def _check_value(column: str, column_type: pa.DataType, value: Any) -> None:
    if not isinstance(value, str | int | float | bool | datetime):
        raise UserMistake(
            f"`where` compares {column!r} with {value!r}, which is no single value",
            do="Write it as SQL: \"genre IN ('a', 'b')\".",
        )
    if not _can_hold(column_type, value):
        raise UserMistake(f"`where` compares {column!r}, a {column_type}, with {value!r}")


def _can_hold(column_type: pa.DataType, value: str | int | float | bool | datetime) -> bool:
    """Whether a column of this type could hold the value."""
    try:
        converted = pa.scalar(value).cast(column_type).as_py()
    except pa.ArrowException:
        return False
    if isinstance(value, datetime):
        return bool(pa.types.is_timestamp(column_type))
    both_boolean = isinstance(value, bool) == bool(pa.types.is_boolean(column_type))
    return both_boolean and bool(converted == value)
