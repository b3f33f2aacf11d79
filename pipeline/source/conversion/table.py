"""The table of what a found value becomes for a declared type, and `convert`, which looks it up.

Whatever the format, an empty text and NaN are null. A pair that is not listed is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from types import NoneType
from typing import Any
from uuid import UUID

import numpy as np

from commonspace.pipeline.source.conversion import numbers, text, times

Converter = Callable[[Any], Any]

UNREADABLE = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What `convert` raises where a value cannot be read as the declared type."""


def convert(value: Any, kind: str) -> Any:
    """The value as the declared type has it; None for null.

    Raises:
        ValueError, TypeError, ArithmeticError, RecursionError: it cannot be read so.
    """
    converter = CONVERTERS[kind].get(type(value))
    if converter is None:
        raise TypeError(f"no {kind} is made of {type(value).__name__}")
    return converter(value)


def _null(_: None) -> None:
    return None


def _of_number_or_time(kind: str, value: str) -> datetime | None:
    try:
        moment: datetime | None = convert(numbers.number(value), kind)
    except UNREADABLE:
        return times.timestamp_of_text(value)
    return moment


def _of_epoch(kind: str, per_second: int) -> Mapping[type, Converter]:
    epoch_time = partial(times.epoch_time, per_second)
    return {
        **_TIMESTAMPS,
        str: partial(_of_number_or_time, kind),
        **dict.fromkeys([int, float, np.float32, np.float16, Decimal], epoch_time),
    }


_NESTED: Converter = partial(text.of_nested, lambda value: convert(value, "string"))
_TIMESTAMPS: Mapping[type, Converter] = {
    NoneType: _null,
    str: times.timestamp_of_text,
    float: times.timestamp_of_float,
    np.float32: times.timestamp_of_float,
    np.float16: times.timestamp_of_float,
    date: times.timestamp_of_date,
    datetime: times.timestamp,
    times.ExactTime: times.timestamp_of_text,
}

CONVERTERS: Mapping[str, Mapping[type, Converter]] = {
    "string": {
        NoneType: _null,
        str: text.of_text,
        bool: text.of_boolean,
        int: str,
        float: text.of_float,
        np.float32: text.of_small_float,
        np.float16: text.of_small_float,
        Decimal: text.of_decimal,
        bytes: text.of_bytes,
        UUID: str,
        date: date.isoformat,
        datetime: datetime.isoformat,
        time: time.isoformat,
        timedelta: text.of_duration,
        times.ExactTime: str,
        numbers.WrittenNumber: str,
        list: _NESTED,
        dict: _NESTED,
    },
    "int64": {
        NoneType: _null,
        str: numbers.int64_of_text,
        bool: int,
        int: numbers.int64,
        float: numbers.int64_of_float,
        np.float32: numbers.int64_of_float,
        np.float16: numbers.int64_of_float,
        Decimal: numbers.int64_of_decimal,
    },
    "float64": {
        NoneType: _null,
        str: numbers.float64_of_text,
        bool: float,
        int: float,
        float: numbers.float64,
        np.float32: numbers.float64,
        np.float16: numbers.float64,
        Decimal: numbers.float64,
    },
    "bool": {
        NoneType: _null,
        str: numbers.boolean_of_text,
        bool: bool,
        int: numbers.boolean,
        float: numbers.boolean,
        np.float32: numbers.boolean,
        np.float16: numbers.boolean,
        Decimal: numbers.boolean,
    },
    "timestamp": _TIMESTAMPS,
    **{f"timestamp[{u}]": _of_epoch(f"timestamp[{u}]", n) for u, n in times.PER_SECOND.items()},
}
"""By declared type, then by the type of what a source gave."""
