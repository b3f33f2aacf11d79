"""Verify: does LanceDB hold the served release, row for row, and find as much as was measured?"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.stored_columns import has_columns_of, in_columns_of
from commonspace.pipeline.index.checksum import index_files_digest
from commonspace.pipeline.index.connection import (
    connect,
    open_table,
    plain_message,
    translating_store_errors,
)
from commonspace.pipeline.index.difference import read_compared_columns, rows_equal
from commonspace.pipeline.index.indexes import text_index, vector_index
from commonspace.pipeline.index.recall import measure_recall, sample_queries
from commonspace.pipeline.index.table import Table, check_table, fetch_rows
from commonspace.pipeline.maintenance.served_space import ServedSpace
from commonspace.pipeline.publish.pending import promotion_problems
from commonspace.pipeline.release.parts import read_part

RECALL_NOISE = 0.01
"""Of equally near candidates LanceDB may take others each time: ten of 1,000 neighbours."""


def verify_table(space: ServedSpace) -> list[str]:
    """What is wrong with the table at its served version, or with an interrupted promotion.

    The parts of the release must be whole. The first problem ends the search for others.
    """
    try:
        with translating_store_errors(str(space.name)):
            table = open_table(connect(space.store.address), space.name.table)
            if table is None:
                return ["the LanceDB table is gone"]
            table.checkout(space.pointer.table_version)
            check_table(table, space.contract)
            if not has_columns_of(space.contract, table.schema):
                return ["the LanceDB table has other columns than the release"]
            problems = _check_rows(table, space) or _check_indexes(table, space)
    except CommonspaceError as error:
        return [f"{error.item}: {error.what}"]
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        return [f"the LanceDB table cannot be read: {plain_message(error)}"]
    return problems or promotion_problems(space.store, space.name)


def _check_rows(table: Table, space: ServedSpace) -> list[str]:
    release, contract = space.release, space.contract
    if table.count_rows() != release.rows:
        return [f"LanceDB holds {table.count_rows()} rows, the release {release.rows}"]
    # Some damage shows only to those who read some columns, as searches do.
    read_compared_columns(table)
    probe = np.ones(contract.spec.dim, np.float32)
    vector_index.nearest_query(table, probe, 1, None).to_arrow()
    for part in release.parts:
        rows = read_part(space.store, part, contract)
        held = in_columns_of(contract, fetch_rows(table, rows["id"].to_pylist()))
        if not rows_equal(rows, held):
            return [f"LanceDB holds other rows than {part.key}"]
    return []


def _check_indexes(table: Table, space: ServedSpace) -> list[str]:
    """What differs from what CURRENT says: the indexes' files, then what they find."""
    expected = space.pointer.indexes
    if expected is None:
        return []
    if index_files_digest(space.store, space.name, space.pointer.table_version) != expected.sha256:
        return ["the files of the LanceDB table's indexes are not those that were written"]
    text_columns = text_index.indexes_by_column(table.list_indices()).keys()
    missing = sorted(set(expected.text) - text_columns)
    if missing:
        return [f"the full-text index of {missing[0]!r} is gone"]
    index = expected.vector
    if index is None:
        return []
    if vector_index.read_state(table, table.list_indices(), index.trained_rows) is None:
        return ["the vector index of the LanceDB table is gone"]
    queries = sample_queries(table, space.store, space.contract, space.release)
    recall = measure_recall(table, queries, index)
    if recall < index.recall - RECALL_NOISE:
        return [f"the vector index finds {recall:.1%} of the nearest rows, not {index.recall:.1%}"]
    return []
