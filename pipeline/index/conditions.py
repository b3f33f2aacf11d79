"""SQL conditions, which LanceDB understands, on rows that it does not hold."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.index.connection import plain_message

_UNEXPECTED = re.compile(r"Expected: (?P<expected>.+), found: (?P<found>.+)")


@dataclass(frozen=True)
class Condition:
    """A SQL condition.

    given: as the user wrote it, for messages.
    sql: as LanceDB takes it, in parentheses.
    """

    given: str
    sql: str


def ids_matching(rows: pa.Table, condition: Condition) -> pa.Array:
    """The ids of the rows for which the condition is true.

    Raises:
        UserMistake: LanceDB refuses the condition.
    """
    import lancedb  # two seconds that most stages need not pay

    table = lancedb.connect("memory://").create_table("rows", rows.replace_schema_metadata(None))
    try:
        query = table.search().where(condition.sql)
        found = query.select(["id"]).limit(rows.num_rows).to_arrow()
    except (ValueError, RuntimeError) as error:
        raise refused_condition(condition, error) from error
    return found["id"].combine_chunks()


def refused_condition(condition: Condition, error: Exception) -> UserMistake:
    """What LanceDB's error about a condition means."""
    return UserMistake(f"the condition {condition.given!r} was refused: {_reason(error)}")


def _reason(error: Exception) -> str:
    """LanceDB's message; of a mistake in the grammar only what the parser says of it.

    Before that stands the whole condition, in our parentheses.
    """
    _, is_of_parser, said = str(error).rpartition("sql parser error: ")
    if not is_of_parser:
        return plain_message(error)
    message = plain_message(said).removesuffix(")")
    unexpected = _UNEXPECTED.fullmatch(message)
    if unexpected and unexpected["expected"] == ")":
        return f"{unexpected['found']!r} was not understood"
    if unexpected and unexpected["found"] == ")":
        return f"{unexpected['expected']} is missing"
    return message
