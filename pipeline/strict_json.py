"""JSON as RFC 8259 has it: without NaN and infinity, which most readers refuse."""

from __future__ import annotations

import json
import math
from typing import Any


def strict_json(value: Any, **options: Any) -> str:
    """The value as one JSON text, with null for each NaN and infinity in it.

    Args:
        value: what `json.dumps` takes.
        options: those of `json.dumps`.

    Raises:
        TypeError, ValueError, RecursionError: as `json.dumps` raises them.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **options)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
