"""JSON objects as Python values: no number stands for another one, no repeated key is hidden."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import inf
from typing import Any

from commonspace.pipeline.source.conversion.numbers import WrittenNumber


def decode_record(text: str, columns: Sequence[str]) -> Any:
    """The JSON value that a text is: an object, if it is a record.

    A number that Python would take for infinity, or that has more digits than Python reads, is a
    `WrittenNumber`: no number of any type, and as a text what stands in the file.

    Args:
        text: a JSON document.
        columns: those that are needed of a record; infinity may stand in others.

    Raises:
        ValueError: it is no JSON (as `json.JSONDecodeError`), or an object has a key twice.
        RecursionError: it is nested too deeply.
    """
    try:
        value = _USUAL.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _EXACT.decode(text)
    if type(value) is dict:
        for found in map(value.get, columns):
            if type(found) in _WITH_FLOATS and _has_infinity(found):
                return _EXACT.decode(text)
    return value


_WITH_FLOATS = frozenset({float, list, dict})


def _has_infinity(value: Any) -> bool:
    if type(value) is float:
        return value == inf or value == -inf
    if isinstance(value, list | dict):
        return any(map(_has_infinity, value.values() if isinstance(value, dict) else value))
    return False


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object; Python's own reader would keep the last value of a key in silence."""
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in value if keys.count(key) > 1)
        raise ValueError(f"an object has the key {repeated!r} twice")
    return value


def _float(text: str) -> float | WrittenNumber:
    value = float(text)
    return WrittenNumber(text) if value in (inf, -inf) else value


def _int(text: str) -> int | WrittenNumber:
    try:
        return int(text)
    except ValueError:
        return WrittenNumber(text)


# Made once: `json.loads` with a hook makes a decoder for each call. A function for each number
# would cost rows of many numbers more than all the rest.
_USUAL = json.JSONDecoder(object_pairs_hook=_object)
_EXACT = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int)
