"""SQL conditions, which LanceDB understands, on rows that it does not hold."""

from __future__ import annotations

import pyarrow as pa

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.index.connection import plain_message


def ids_matching(rows: pa.Table, condition: str) -> pa.Array:
    """The ids of the rows for which the condition is true.

    Raises:
        UserMistake: LanceDB refuses the condition.
    """
    import lancedb  # two seconds that most stages need not pay

    table = lancedb.connect("memory://").create_table("rows", rows.replace_schema_metadata(None))
    try:
        found = table.search().where(condition).select(["id"]).limit(rows.num_rows).to_arrow()
    except (ValueError, RuntimeError) as error:
        raise refused_condition(condition, error) from error
    return found["id"].combine_chunks()


def refused_condition(condition: str, error: Exception) -> UserMistake:
    """What LanceDB's error about a condition means."""
    return UserMistake(f"the condition {condition!r} was refused: {plain_message(error)}")
