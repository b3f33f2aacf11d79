"""Upkeep of a table's indices: built, extended, trained again or dropped, before it is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from commonspace.pipeline.index import text_index, vector_index
from commonspace.pipeline.index.compaction import KEEP_EVERY_VERSION
from commonspace.pipeline.index.policy import next_step
from commonspace.pipeline.release.indexes import IndexSettings


@dataclass(frozen=True)
class IndexState:
    """A table that equals a release, at one of its versions."""

    version: int
    trained_rows: int | None
    """Over how many rows its vector index was trained; None where it has none."""
    trained: bool = False
    """Whether that was now."""


def build_indexes(
    table: Any,
    wanted: IndexSettings,
    dim: int,
    trained_rows: int | None,
    *,
    retrain: bool = False,
    rebuild_indexes: bool = False,
) -> IndexState:
    """Bring the indices in order, in commits of their own; rows stay as they are.

    trained_rows: over how many rows the vector index was trained, where that is known.
    retrain: train it, whatever there is. anew: do so, and build the full-text indices again.
    """
    rows, listed = table.count_rows(), table.list_indices()
    for name in vector_index.foreign_indexes(table, listed):
        table.drop_index(name)
    found = vector_index.read_state(table, listed, trained_rows)
    todo = next_step(wanted.vector, rows, dim, found)
    if (retrain or rebuild_indexes) and todo in ("extend", "leave"):
        todo = "build"
    if todo == "drop":
        table.drop_index(vector_index.NAME)
    elif todo == "build":
        vector_index.train(table, rows)
    if (
        text_index.build_text_indexes(
            table, listed, wanted.text, rows, rebuild_indexes=rebuild_indexes
        )
        or todo == "extend"
    ):
        # LanceDB extends indices only together with compaction. Old versions stay.
        table.optimize(cleanup_older_than=KEEP_EVERY_VERSION)
    if todo in ("none", "drop"):
        return IndexState(int(table.version), None)
    trained = rows if todo == "build" or found is None else found.trained_rows
    return IndexState(int(table.version), trained, todo == "build")
