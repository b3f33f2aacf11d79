"""How a verb answers: results on standard output, messages on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import typer

from commonspace.pipeline.strict_json import strict_json

Value = TypeVar("Value")


def print_result(value: Value, as_json: bool, render: Callable[[Value], None]) -> None:
    """The value on standard output: as a table, or as one JSON document."""
    if as_json:
        print_json(value)
    else:
        render(value)


def print_json(value: Any) -> None:
    """The value on standard output as one strict JSON document, in any encoding of the terminal.

    Raises:
        TypeError: it holds something that is neither JSON's nor a time.
    """
    is_utf8 = (sys.stdout.encoding or "utf-8").lower() in {"utf-8", "utf8"}
    sys.stdout.write(strict_json(value, default=_time, ensure_ascii=not is_utf8) + "\n")


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")


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
