"""Values as text: what a person would write, and nothing lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from commonspace.pipeline.source.conversion.times import iso_duration
from commonspace.pipeline.strict_json import strict_json


def printable(text: str) -> str:
    """The text with escapes for what UTF-8 cannot write (file names may hold any byte)."""
    return text.encode("utf-8", "backslashreplace").decode()


def of_text(value: str) -> str | None:
    """The text itself; None where it is empty. Raises UnicodeEncodeError."""
    value.encode()  # Arrow could not hold a lone surrogate
    return value or None


def of_boolean(value: bool) -> str:
    """`true` or `false`, as JSON writes them."""
    return "true" if value else "false"


def of_float(value: float) -> str | None:
    """The fewest digits that read as the same number."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return None if math.isnan(value) else str(value)


def of_small_float(value: np.floating[Any]) -> str | None:
    """The fewest digits too: 0.1, not the 0.10000000149011612 that it is as a float64."""
    return of_float(float(str(value)))


def of_decimal(value: Decimal) -> str | None:
    """All of its digits, without an exponent."""
    return None if value.is_nan() else f"{value:f}"


def of_bytes(value: bytes) -> str | None:
    """Bytes that are UTF-8. Raises UnicodeDecodeError."""
    return value.decode() or None


def of_duration(value: timedelta) -> str:
    """In ISO 8601."""
    return iso_duration(value // timedelta(microseconds=1) * 1000)


def of_nested(as_text: Callable[[Any], str | None], value: Any) -> str | None:
    """A list or struct as JSON, its keys in alphabetical order; `as_text`: of values inside."""

    def default(inner: Any) -> Any:
        written = as_text(inner)
        return float(written) if written and isinstance(inner, np.floating) else written

    return of_text(strict_json(value, ensure_ascii=False, sort_keys=True, default=default))
