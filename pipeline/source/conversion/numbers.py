"""Values as numbers and booleans; what is none raises ValueError or ArithmeticError."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

Number = bool | int | float

INEXACT_FLOATS = 2**53
"""From it on a float64 may stand for the integer next to it."""


class WrittenNumber(str):
    """A number as it is written: beyond the floats of Python, or with more digits than it reads."""

    __slots__ = ()


def number(text: str) -> Number | None:
    """The number or boolean that a text is; None where it is blank."""
    if (word := text.strip().lower()) in {"", "true", "false"}:
        return word == "true" if word else None
    if "_" in word:
        raise ValueError(text)  # Python reads 1_000 as a number, and nobody else does
    if "." not in word:  # to have `int` refuse a point would take as long as all the rest
        try:
            return int(word)
        except ValueError:
            nearest = float(word)
    else:
        nearest = float(word)
    if math.isinf(nearest) and "inf" not in word:
        raise OverflowError(text)
    return nearest


def int64_of_text(text: str) -> int | None:
    """The integer of 64 bits that a text is, exactly: no float is made of `9007199254740993.0`."""
    value = number(text)
    if type(value) is int:
        return int64(value)
    if isinstance(value, float):
        return int64_of_decimal(Decimal(text.strip()))
    return None if value is None else int(value)


def int64(value: int) -> int:
    """An integer of 64 bits."""
    if not -(2**63) <= value < 2**63:
        raise ValueError(value)
    return value


def int64_of_float(value: float) -> int | None:
    """A float that is an integer, and surely the one that was meant."""
    if math.isnan(value):
        return None
    if not value.is_integer() or abs(value) >= INEXACT_FLOATS:
        raise ValueError(value)
    return int(value)


def int64_of_decimal(value: Decimal) -> int | None:
    """A decimal that is an integer of 64 bits."""
    if value.is_nan():
        return None
    if not value:
        return 0
    if value.adjusted() > 18 or value != value.to_integral_value():
        raise ValueError(value)
    return int64(int(value))


def float64_of_text(text: str) -> float | None:
    """The nearest float64 to the number that a text is."""
    value = number(text)
    return None if value is None else float64(value)


def float64(value: Any) -> float | None:
    """The nearest float64; None for NaN."""
    return None if math.isnan(value) else float(value)


def boolean_of_text(text: str) -> bool | None:
    """`true`, `false`, or a number that is 0 or 1."""
    value = number(text)
    return None if value is None else boolean(value)


def boolean(value: Number | Decimal) -> bool | None:
    """0 or 1."""
    if value != value:
        return None
    if value not in (0, 1):
        raise ValueError(value)
    return bool(value)
