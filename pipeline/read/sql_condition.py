"""A SQL condition as one expression, of which nothing is left unread.

LanceDB's parser stops behind the first expression: to it, `n > 2 ADN n < 4` is `n > 2`. Within
parentheses, what follows is a mistake, as long as the condition itself neither closes them nor
hides their end in a comment.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.index.conditions import Condition
from commonspace.pipeline.read.sql_times import with_timestamps

_SYMBOL = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--|/\*|['"`(),;]""")


def checked_condition(given: str, times: AbstractSet[str]) -> Condition:
    """The condition as LanceDB takes it.

    Args:
        given: SQL.
        times: the columns of timestamps, which may be compared with times in quotes.

    Raises:
        UserMistake: it is more than one expression, holds a comment, or a quote or a parenthesis
            is not closed.
    """
    depth = 0
    for match in _SYMBOL.finditer(given):
        symbol = match[0]
        depth += {"(": 1, ")": -1}.get(symbol, 0)
        if symbol in {"--", "/*", ";"} or depth < 0 or (symbol == "," and depth == 0):
            raise _refusal(given, f"{_from(given, match)!r} was not understood")
        if symbol in {"'", '"', "`"}:
            raise _refusal(given, f"the quote of {_from(given, match)!r} is not closed")
    if depth:
        raise _refusal(given, "a parenthesis is not closed")
    return Condition(given, f"({with_timestamps(given, times)})")


def _from(given: str, match: re.Match[str]) -> str:
    """The condition from there on, if need be shortened."""
    rest = given[match.start() :]
    return rest if len(rest) <= 40 else f"{rest[:39]}…"


def _refusal(given: str, reason: str) -> UserMistake:
    return UserMistake(f"the condition {given!r} was refused: {reason}")
