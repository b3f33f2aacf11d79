"""How a verb answers: results on standard output, messages on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import typer

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


def exit_if_refused(answers: Sequence[Mapping[str, Any]]) -> None:
    """Say why each space was refused, and end with exit code 1 where one was."""
    refused = [answer for answer in answers if "error" in answer]
    for answer in refused:
        sys.stderr.write(f"commonspace: {answer['what']}\n  {answer['do']}\n")
    if refused:
        raise typer.Exit(1)
