"""Verify: are the indices of the table still those that were measured, and do they find as much?"""

from __future__ import annotations

from typing import Any

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.index import text_index, vector_index
from commonspace.pipeline.index.checksum import index_files_digest
from commonspace.pipeline.index.recall import measure_recall, sample_queries
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.pointer import Current
from commonspace.pipeline.storage.store import Store

WANDERS = 0.01
"""Of equally near candidates LanceDB may take others each time: ten of 1,000 neighbours."""


def check_indexes(
    table: Any,
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    pointer: Current,
) -> list[str]:
    """What is wrong with the indices of the version that is open, against what `CURRENT` says.

    Their files are compared by checksum, then recall is measured again.
    """
    said = pointer.indexes
    if said is None:
        return []
    if index_files_digest(store, name, pointer.table_version) != said.sha256:
        return ["the files of the LanceDB table's indices are not those that were written"]
    missing = sorted(set(said.text) - text_index.indexes_by_column(table.list_indices()).keys())
    if missing:
        return [f"the full-text index of {missing[0]!r} is gone"]
    index = said.vector
    if index is None:
        return []
    if vector_index.read_state(table, table.list_indices(), index.trained_rows) is None:
        return ["the vector index of the LanceDB table is gone"]
    found = measure_recall(table, sample_queries(table, store, contract, release), index)
    if found < index.recall - WANDERS:
        return [f"the vector index finds {found:.1%} of the nearest rows, not {index.recall:.1%}"]
    return []
