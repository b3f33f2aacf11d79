"""The indexes of a table are built, extended, trained again or dropped, as the settings want."""

from __future__ import annotations

from dataclasses import dataclass

from commonspace.pipeline.index.compaction import KEEP_EVERY_VERSION
from commonspace.pipeline.index.indexes import text_index, vector_index
from commonspace.pipeline.index.indexes.policy import next_step
from commonspace.pipeline.index.table import Table
from commonspace.pipeline.release.indexes import IndexSettings


@dataclass(frozen=True)
class IndexState:
    """A table that equals a release, at one of its versions."""

    version: int
    trained_rows: int | None
    """How many rows its vector index was trained on; None where it has none."""
    trained: bool = False
    """Whether that was just now."""


def build_indexes(
    table: Table,
    settings: IndexSettings,
    dim: int,
    trained_rows: int | None,
    *,
    retrain: bool = False,
    rebuild_indexes: bool = False,
) -> IndexState:
    """Give the table the indexes that the settings want, in commits of their own; no row changes.

    Args:
        table: at its latest version.
        settings: the indexes that the owner wants.
        dim: the width of the vectors.
        trained_rows: how many rows the vector index was trained on, where that is known.
        retrain: train the vector index again, whatever its state.
        rebuild_indexes: as `retrain`, and build the full-text indexes again.
    """
    rows, listed = table.count_rows(), table.list_indices()
    for name in vector_index.foreign_indexes(table, listed):
        table.drop_index(name)
    existing = vector_index.read_state(table, listed, trained_rows)
    step = next_step(settings.vector, rows, dim, existing)
    if (retrain or rebuild_indexes) and step in ("extend", "leave"):
        step = "build"
    if step == "drop":
        table.drop_index(vector_index.NAME)
    elif step == "build":
        vector_index.train(table, rows)
    text_is_behind = text_index.build_text_indexes(
        table, listed, settings.text, rows, rebuild_indexes=rebuild_indexes
    )
    if text_is_behind or step == "extend":
        # LanceDB extends indexes only together with compaction. Old versions stay.
        table.optimize(cleanup_older_than=KEEP_EVERY_VERSION)
    if step in ("none", "drop"):
        return IndexState(int(table.version), None)
    trained = rows if step == "build" or existing is None else existing.trained_rows
    return IndexState(int(table.version), trained, step == "build")
