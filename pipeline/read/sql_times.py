"""SQL conditions that compare a timestamp with a time in quotes, as every database takes them.

LanceDB takes `at >= timestamp '2026-01-01'` only; `at >= '2026-01-01'` becomes that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC, datetime

_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|[^\W\d]\w*|<=|>=|<>|!=|==|[^\s\w]|\w+""",
)
_COMPARISONS = frozenset({"=", "==", "<>", "!=", "<", "<=", ">", ">="})
_BETWEEN_COLUMN_AND_VALUE = _COMPARISONS | {",", "(", "and", "not", "between", "in", "timestamp"}


def with_timestamps(condition: str, columns: AbstractSet[str]) -> str:
    """The condition with each time in quotes that a column is compared with as a timestamp in UTC.

    Args:
        condition: SQL.
        columns: the columns of timestamps.
    """
    found = list(_TOKEN.finditer(condition))
    tokens = [match[0] for match in found]
    folded = {column.casefold() for column in columns}
    pieces, end, is_of_column = [], 0, False
    for position, match in enumerate(found):
        if not _is_between_column_and_value(match[0]):
            is_of_column = _name(match[0]) in folded
        elif match[0].startswith("'"):
            time = parsed_time(match[0][1:-1])
            if time and _is_compared(tokens, position, folded, is_of_column=is_of_column):
                pieces += [condition[end : match.start()], _literal(time)]
                end = match.end()
    return "".join([*pieces, condition[end:]])


def parsed_time(text: str) -> datetime | None:
    """A date or a time in ISO 8601; None for any other text."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def in_utc(time: datetime) -> datetime:
    """The same moment in UTC, in which one without a zone is.

    Raises:
        OverflowError: that is not within the years 1 to 9999.
    """
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _literal(time: datetime) -> str:
    with suppress(OverflowError):  # in UTC it is in the year 0 or 10000, which Python lacks
        time = in_utc(time)
    return f"timestamp '{time.isoformat(' ')}'"


def _is_compared(
    tokens: Sequence[str], position: int, columns: AbstractSet[str], *, is_of_column: bool
) -> bool:
    """Whether the literal stands on either side of a comparison with one of the columns.

    is_of_column: whether the last name before it is one of them.
    """
    before = tokens[position - 1].casefold() if position else ""
    if before in {"timestamp", "date"}:
        return False
    following = tokens[position + 1 : position + 3]
    if len(following) == 2 and following[0] in _COMPARISONS:
        return _name(following[1]) in columns
    return is_of_column


def _is_between_column_and_value(token: str) -> bool:
    return token.startswith("'") or token.casefold() in _BETWEEN_COLUMN_AND_VALUE


def _name(token: str) -> str:
    """The column that a token names, quoted or not, for comparison."""
    return (token[1:-1] if token[:1] in {'"', "`"} else token).casefold()
