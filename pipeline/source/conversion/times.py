"""Values as times in UTC, and durations as text; what is neither raises ValueError."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""The units of numbers that count from 1970."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO_8601 = re.compile(r"\d{4}(-\d\d-\d\d|\d{4}|-?W\d\d(-?\d)?)([T ].+)?", re.ASCII | re.I)
"""A date, and a time after it. Python takes any character between the two, and so would read
1706012012345, milliseconds since 1970, as a day of the year 1706."""


class ExactTime(str):
    """A time or duration in ISO 8601, with more digits than Python's own types have."""

    __slots__ = ()


def timestamp(value: datetime) -> datetime:
    """In UTC, which one without a zone is taken for."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def timestamp_of_date(value: date) -> datetime:
    """Midnight of the day."""
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def timestamp_of_text(value: str) -> datetime | None:
    """What ISO 8601 writes: a date, or a date and a time."""
    text = value.strip()
    if not _ISO_8601.fullmatch(text):
        if not text or text.lower() == "nan":
            return None
        raise ValueError(value)
    return timestamp(datetime.fromisoformat(text))


def timestamp_of_float(value: float) -> None:
    """NaN is null; any other number has no declared unit."""
    if not math.isnan(value):
        raise ValueError(value)


def epoch_time(per_second: int, value: int | float | np.floating | Decimal) -> datetime | None:
    """The time so many seconds, milliseconds … after the beginning of 1970.

    Integers are cut to the microsecond, as timestamps in nanoseconds are; others are rounded.
    """
    if value != value:
        return None
    if isinstance(value, int):
        return _EPOCH + timedelta(microseconds=value * 10**6 // per_second)
    numerator, denominator = value.as_integer_ratio()
    microseconds = Fraction(numerator * 10**6, denominator * per_second)
    return _EPOCH + timedelta(microseconds=round(microseconds))


def iso_duration(nanoseconds: int) -> str:
    """A duration as in ISO 8601, in hours, minutes and seconds: `PT26H3M4.5S`."""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    rest = f"{seconds % 60}.{fraction:09}".rstrip("0").rstrip(".")
    parts = [f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M")) if number]
    if rest != "0" or not parts:
        parts.append(f"{rest}S")
    return ("-PT" if nanoseconds < 0 else "PT") + "".join(parts)
