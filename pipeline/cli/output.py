"""How a verb answers: results on standard output, messages on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def print_result(value: Value, as_json: bool, render: Callable[[Value], None]) -> None:
    """The value on standard output: as a table, or as one JSON document."""
    if as_json:
        sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")
    else:
        render(value)


def log(message: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"commonspace | {message}\n")
