"""Convert the metadata columns of a record to their declared types."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.source.records import Record


def convert_metadata(record: Record, types: Mapping[str, str]) -> dict[str, Any] | Failure:
    """The metadata columns, converted to the types declared for them; missing ones are None."""
    values: dict[str, Any] = {}
    for name, kind in types.items():
        try:
            values[name] = _CONVERTERS[kind](record.values.get(name))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return Failure(Reason.BAD_METADATA, f"column {name!r} cannot be read as {kind}")
    return values


def _to_string(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    value.encode()  # a lone surrogate raises: Arrow could not hold it
    return str(value)


def _to_integer(value: Any) -> int | None:
    if value is None or value == "":
        return None
    number = int(_without_underscore(value))
    if (not isinstance(value, str) and value != number) or not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _to_float(value: Any) -> float | None:
    return None if value is None or value == "" else float(_without_underscore(value))


def _without_underscore(value: Any) -> Any:
    """Refuse 1_000, which Python reads as a number and nobody else does."""
    if isinstance(value, str) and "_" in value:
        raise ValueError(value)
    return value


def _to_boolean(value: Any) -> bool | None:
    if value is None or value == "" or isinstance(value, bool):
        return None if value == "" else value
    words = {"true": True, "false": False, "1": True, "0": False}
    if (boolean := words.get(str(value).lower())) is None:
        raise ValueError(value)
    return boolean


def _to_timestamp(value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "string": _to_string,
    "int64": _to_integer,
    "float64": _to_float,
    "bool": _to_boolean,
    "timestamp": _to_timestamp,
}
