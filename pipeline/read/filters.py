"""The columns, the filter and the number of rows that a search names, checked before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import UserMistake, did_you_mean
from commonspace.pipeline.index.conditions import Condition
from commonspace.pipeline.read.sql_condition import checked_condition
from commonspace.pipeline.read.sql_times import in_utc, parsed_time

Where = str | Mapping[str, Any] | None
"""A SQL condition, the value or values that columns must have, or nothing."""
Filter = Condition | Mapping[str, Sequence[Any]] | None
"""The same, checked: for each column the values of which a row must have one."""


def checked_columns(contract: Contract, columns: Sequence[str] | None) -> list[str]:
    """The columns to return, `id` among them; by default all but the vector.

    Raises:
        UserMistake: a column is unknown.
    """
    schema = contract.schema
    names = [name for name in schema.names if name != "vector"]
    chosen = ["id", *(name for name in columns if name != "id")] if columns is not None else names
    for column in chosen:
        if column not in schema.names:
            raise UserMistake(
                f"{contract.space} has no column {column!r}" + did_you_mean(column, names)
            )
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


def checked_filter(contract: Contract, where: Where) -> Filter:
    """The filter as every kind of rows takes it: SQL, or the values of which a column has one.

    A time without a zone is in UTC. SQL may compare a timestamp with a time in quotes.

    Raises:
        UserMistake: `where` names no column, compares one with a value that it cannot hold, or is
            no single expression of SQL.
    """
    schema = contract.schema
    if isinstance(where, str):
        times = {field.name for field in schema if pa.types.is_timestamp(field.type)}
        return checked_condition(where, times) if where.strip() else None
    checked = {}
    for column, value in (where or {}).items():
        if column not in schema.names or column == "vector":
            known = [name for name in schema.names if name != "vector"]
            raise UserMistake(
                f"{contract.space} has no column {column!r} to compare"
                + did_you_mean(column, known)
            )
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        if not values:
            raise UserMistake(f"`where` compares {column!r} with an empty list: no row has that")
        checked[column] = [_checked(column, schema.field(column).type, each) for each in values]
    return checked or None


def _checked(column: str, column_type: pa.DataType, value: Any) -> Any:
    """The value as the column holds it."""
    if value is None:
        raise UserMistake(
            f"`where` compares {column!r} with None, which equals nothing",
            do=f'Write it as SQL: "{column} IS NULL".',
        )
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, date) and not isinstance(value, datetime):
        raise UserMistake(
            f"`where` compares {column!r} with a whole day, {value}",
            do=f"Write it as SQL: \"{column} >= '{value}' AND {column} < "
            f"'{value + timedelta(days=1)}'\".",
        )
    if not isinstance(value, str | int | float | bool | datetime):
        raise UserMistake(
            f"`where` compares {column!r} with {value!r}, which is no value of a column",
            do="Write it as SQL: \"genre IN ('a', 'b')\".",
        )
    if pa.types.is_timestamp(column_type):
        time = parsed_time(value) if isinstance(value, str) else value
        if isinstance(time, datetime):
            with suppress(OverflowError):
                return in_utc(time)
    elif not isinstance(value, datetime) and _can_hold(column_type, value):
        return value
    raise UserMistake(f"`where` compares {column!r}, a {column_type}, with {value!r}")


def _can_hold(column_type: pa.DataType, value: str | int | float | bool) -> bool:
    """Whether a column of this type could hold the value."""
    try:
        converted = pa.scalar(value).cast(column_type).as_py()
    except (pa.ArrowException, OverflowError):
        return False
    both_boolean = isinstance(value, bool) == bool(pa.types.is_boolean(column_type))
    return both_boolean and bool(converted == value)
