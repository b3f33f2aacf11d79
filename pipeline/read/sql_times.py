"""SQL conditions that compare a timestamp with a time in quotes, as every database takes them.

LanceDB takes `at >= timestamp '2026-01-01'` only; `at >= '2026-01-01'` becomes that.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
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
    pieces, end = [], 0
    for position, match in enumerate(found):
        time = parsed_time(match[0][1:-1]) if match[0].startswith("'") else None
        if time is None or not _is_compared(tokens, position, folded):
            continue
        pieces += [
            condition[end : match.start()],
            f"timestamp '{in_utc(time):%Y-%m-%d %H:%M:%S.%f}'",
        ]
        end = match.end()
    return "".join([*pieces, condition[end:]])


def parsed_time(text: str) -> datetime | None:
    """A date or a time in ISO 8601; None for any other text."""
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None


def in_utc(time: datetime) -> datetime:
    """The same moment in UTC, in which one without a zone is."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _is_compared(tokens: list[str], position: int, columns: AbstractSet[str]) -> bool:
    """Whether the literal stands on either side of a comparison with one of the columns."""
    before = tokens[position - 1].casefold() if position else ""
    if before in {"timestamp", "date"}:
        return False
    following = tokens[position + 1 : position + 3]
    if len(following) == 2 and following[0] in _COMPARISONS:
        return _name(following[1]) in columns
    for token in reversed(tokens[:position]):
        is_value = token.startswith("'") or token.casefold() in _BETWEEN_COLUMN_AND_VALUE
        if not is_value:
            return _name(token) in columns
    return False


def _name(token: str) -> str:
    """The column that a token names, quoted or not, for comparison."""
    return (token[1:-1] if token[:1] in {'"', "`"} else token).casefold()
