"""A column of Arrow as values of Python's own types, the same with and without pandas."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import pyarrow as pa

from commonspace.pipeline.source.conversion.times import ExactTime, iso_duration

_NOT_IN_PYTHON = (ValueError, OverflowError, KeyError, OSError)
"""What Arrow raises for bytes that are not UTF-8, the year 20000, an unknown time zone (`Europe` is
a folder of them: OSError)."""


def column_values(column: pa.Array) -> list[Any]:
    """The values of a column, none of them rounded or cut.

    Small floats are NumPy's, a string that is not UTF-8 is bytes, a time with nanoseconds is an
    `ExactTime`. What no type of Python holds stays Arrow's own scalar, whose type
    `table.CONVERTERS` does not list.
    """
    kind = column.type
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return list(column.to_numpy(zero_copy_only=False))  # with NaN for null
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        try:
            column = column.cast(pa.timestamp("us", kind.tz))
        except pa.ArrowInvalid:  # some have digits that would be lost
            return [_exact_value(scalar) for scalar in column]
    if _is_plain(column.type):
        try:
            values: list[Any] = column.to_pylist()
        except _NOT_IN_PYTHON:
            pass
        else:
            return values
    return [_exact_value(scalar) for scalar in column]


@cache
def _is_plain(kind: pa.DataType) -> bool:
    """Whether Arrow itself makes exact values of Python's types of such a column."""
    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_map(kind) or pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return False
    if pa.types.is_nested(kind):
        return all(_is_plain(kind.field(number).type) for number in range(kind.num_fields))
    return not pa.types.is_temporal(kind) or getattr(kind, "unit", "") != "ns"


def _exact_value(scalar: pa.Scalar) -> Any:
    if not scalar.is_valid:
        return None
    match scalar:
        case pa.StructScalar():
            return {name: _exact_value(value) for name, value in scalar.items()}
        case pa.MapScalar():
            return _map(scalar)
        case pa.ListScalar():
            return column_values(scalar.values)
        case pa.DictionaryScalar():
            return _exact_value(scalar.value)
        case pa.FloatScalar() | pa.HalfFloatScalar():
            return column_values(pa.array([scalar], scalar.type))[0]
        case pa.TimestampScalar() | pa.Time64Scalar() | pa.DurationScalar():
            return _exact_time(scalar)
    return _python_value(scalar)


def _python_value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _NOT_IN_PYTHON:
        return scalar.as_buffer().to_pybytes() if isinstance(scalar, pa.StringScalar) else scalar


def _map(scalar: pa.MapScalar) -> Any:
    """A dict, or a list of pairs where a key is repeated or is no text."""
    keys, values = map(column_values, scalar.values.flatten())
    if all(isinstance(key, str) for key in keys) and len(set(keys)) == len(keys):
        return dict(zip(keys, values, strict=True))
    return [list(pair) for pair in zip(keys, values, strict=True)]


def _exact_time(scalar: pa.Scalar) -> Any:
    kind = scalar.type
    if kind.unit != "ns":
        return _python_value(scalar)
    microseconds, rest = divmod(scalar.value, 1000)
    if isinstance(scalar, pa.DurationScalar):
        return ExactTime(iso_duration(scalar.value)) if rest else timedelta(0, 0, microseconds)
    is_clock = isinstance(scalar, pa.Time64Scalar)
    in_microseconds = pa.time64("us") if is_clock else pa.timestamp("us", kind.tz)
    moment = _python_value(pa.scalar(microseconds, in_microseconds))
    if not rest or isinstance(moment, pa.Scalar):
        return moment
    text = moment.isoformat(timespec="microseconds")
    end = text.index(".") + 7
    return ExactTime(f"{text[:end]}{rest:03}{text[end:]}")
