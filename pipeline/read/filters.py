"""What a reader is asked for, checked first: ids, columns, filter, number of rows, release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def checked_ids(contract: Contract, ids: Iterable[Any]) -> list[str]:
    """The ids as a list.

    Raises:
        UserMistake: they are no list, or one of them is no text.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise UserMistake(f"get takes a list of ids: [{ids!r}]", item=contract.space)
    each = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
    return [_checked_id(contract, item) for item in each]


def _checked_id(contract: Contract, item: Any) -> str:
    if not isinstance(item, str):
        raise UserMistake(
            f"{item!r} is no id: it is of type {type(item).__name__}, and ids are texts",
            item=contract.space,
        )
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise UserMistake(
            f"{item!r} is no id: it has a lone surrogate", item=contract.space
        ) from error
    return str(item)


def checked_names(contract: Contract, columns: Sequence[Any], known: Sequence[str]) -> list[str]:
    """The names of columns as a list.

    Args:
        contract: which columns there are.
        columns: what is asked for.
        known: those that a message proposes.

    Raises:
        UserMistake: they are no list, or one of them is no column.
    """
    if isinstance(columns, str | bytes) or not isinstance(columns, Iterable):
        raise UserMistake(f"`columns` takes a list of names: [{columns!r}]")
    names = list(columns)
    for name in names:
        if not isinstance(name, str) or name not in contract.schema.names:
            raise _no_column(contract, name, known)
    return names


def _no_column(contract: Contract, name: Any, known: Sequence[str], to: str = "") -> UserMistake:
    similar = did_you_mean(str(name), known)
    return UserMistake(f"{contract.space} has no column {name!r}{to}{similar}")


def checked_columns(contract: Contract, columns: Sequence[str] | None) -> list[str]:
    """The columns to return, `id` among them; by default all but the vector.

    Raises:
        UserMistake: a column is unknown.
    """
    names = [name for name in contract.schema.names if name != "vector"]
    if columns is None:
        return names
    chosen = checked_names(contract, columns, names)
    return ["id", *(name for name in chosen if name != "id")]


def checked_limit(k: int, rows: int) -> int:
    """How many rows to look for: k, or all of them and one more where the release has fewer.

    Raises:
        UserMistake: k is no whole number, or below 1.
    """
    if _whole_number("k", k) < 1:
        raise UserMistake(f"k is {k}; it must be at least 1")
    return min(int(k), rows + 1)  # LanceDB reserves memory for as many rows as it is asked for


def checked_release(number: Any) -> int:
    """The number of a release.

    Raises:
        UserMistake: it is no whole number.
    """
    return _whole_number("release", number)


def _whole_number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise UserMistake(f"{name} is {value!r}; it must be a whole number")
    return int(value)


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
    if where is None:
        return None
    if not isinstance(where, Mapping):
        raise UserMistake(
            f"`where` is {where!r}, of type {type(where).__name__}",
            do="It takes SQL, \"genre = 'novel'\", or values by column, {'genre': 'novel'}.",
        )
    checked, known = {}, [name for name in schema.names if name != "vector"]
    for column, value in where.items():
        if column not in known:
            raise _no_column(contract, column, known, " to compare")
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
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return False
    both_boolean = isinstance(value, bool) == bool(pa.types.is_boolean(column_type))
    return both_boolean and bool(converted == value)
