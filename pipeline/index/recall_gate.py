"""The gate `index_recall`: a table is served only where its vector index finds what is nearest."""

from __future__ import annotations

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, GateRefused
from commonspace.pipeline.index.checksum import index_files_digest
from commonspace.pipeline.index.connection import connect, open_table, translating_table_errors
from commonspace.pipeline.index.indexes.build import IndexState
from commonspace.pipeline.index.indexes.policy import REFINE, partition_count, probe_ladder
from commonspace.pipeline.index.recall import measure_recall, sample_queries
from commonspace.pipeline.index.sync import sync_table
from commonspace.pipeline.index.table import Table
from commonspace.pipeline.release.indexes import RECALL_GATE, Indexes, VectorIndex
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.pointer import Current
from commonspace.pipeline.storage.store import Store

INDEX_KIND = "ivf_sq"


def sync_and_measure(
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    before: Current | None,
    *,
    refuse: bool,
) -> tuple[int, Indexes | None]:
    """Make the table and its indexes those of the release, and measure the recall.

    Where the files of the indexes are not those that were measured, all are built again. A vector
    index whose recall is too low is trained again, once. If it is still too low, the index counts
    as weak, and searches compare every row.

    Args:
        store: the warehouse.
        name: the space.
        contract: its contract.
        release: the release to serve.
        before: what is served now.
        refuse: refuse the release where its index is weak.

    Returns:
        the table's version, and what CURRENT is to say of its indexes.

    Raises:
        GateRefused: the vector index is weak, and `refuse` is set.
        ContractBroken: as `sync_table` raises it.
        StoreFailed: as `sync_table` raises it.
    """
    served = before.indexes.vector if before and before.indexes else None
    trained = served.trained_rows if served else None
    files_changed = _index_files_changed(store, name, before)
    state = sync_table(
        store, name, contract, release, trained_rows=trained, rebuild_indexes=files_changed
    )
    earlier = _earlier_measurement(before, release, state)
    indexes = earlier or measure_indexes(
        store, name, contract, release, state, min_probes=served.nprobes if served else 0
    )
    if _is_weak(indexes) and not state.trained and (refuse or earlier is None):
        state = sync_table(store, name, contract, release, trained_rows=trained, retrain=True)
        indexes = measure_indexes(store, name, contract, release, state)
    if refuse and indexes is not None and indexes.vector is not None and indexes.vector.is_weak:
        gate = indexes.vector.to_gate()
        raise GateRefused(
            f"gate {RECALL_GATE} refused: {gate['message']}",
            item=str(name),
            do='Lower `min_index_recall` in [gates], or set `vector_index = "none"` in the '
            "[[space]], which compares every row; then run again.\n"
            "  Nothing was promoted; readers still see what they saw before.",
            gates=[gate],
        )
    return state.version, indexes


def measure_indexes(
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    state: IndexState,
    min_probes: int = 0,
) -> Indexes | None:
    """What CURRENT is to say of the indexes of a version of the table; None where it has none.

    Searches probe as few partitions as reach the wanted recall, or all of them where none do.

    Args:
        store: the warehouse.
        name: the space.
        contract: its contract.
        release: what the table holds.
        state: the version of the table.
        min_probes: how many probes the same index was found to need before.

    Raises:
        ContractBroken: the table is gone or damaged.
    """
    settings, vector = release.index_settings, None
    if not release.rows or (state.trained_rows is None and not settings.text):
        return None
    if state.trained_rows is not None:
        with translating_table_errors(str(name)):
            table = open_table(connect(store.address), name.table)
            if table is None:
                raise ContractBroken("the LanceDB table is gone", item=str(name))
            table.checkout(state.version)
            fewest = 0 if state.trained else min_probes
            vector = _fewest_probes(table, store, contract, release, state.trained_rows, fewest)
    return Indexes(index_files_digest(store, name, state.version), vector, settings.text)


def _is_weak(indexes: Indexes | None) -> bool:
    """Whether there is a vector index whose recall is below its limit."""
    return indexes is not None and indexes.vector is not None and indexes.vector.is_weak


def _fewest_probes(
    table: Table,
    store: Store,
    contract: Contract,
    release: Release,
    trained_rows: int,
    min_probes: int,
) -> VectorIndex:
    """The vector index with the fewest probes that reach the limit, or with all partitions."""
    queries = sample_queries(table, store, contract, release)
    limit, partitions = release.index_settings.min_recall, partition_count(trained_rows)
    ladder = probe_ladder(partitions)
    for nprobes in (step for step in ladder if step >= min(min_probes, partitions)):
        index = VectorIndex(
            kind=INDEX_KIND,
            trained_rows=trained_rows,
            partitions=partitions,
            nprobes=nprobes,
            refine=REFINE,
            recall=0.0,
            limit=limit,
            sample=len(queries.ids),
        )
        index = index.with_recall(measure_recall(table, queries, index))
        if not index.is_weak:
            break
    return index


def _earlier_measurement(
    before: Current | None, release: Release, state: IndexState
) -> Indexes | None:
    """What was measured of the same version of the table under the same settings."""
    if before is None or before.indexes is None or before.table_version != state.version:
        return None
    vector, settings = before.indexes.vector, release.index_settings
    limit = settings.min_recall if state.trained_rows is not None else None
    same_limit = (vector.limit if vector else None) == limit
    return before.indexes if same_limit and before.indexes.text == settings.text else None


def _index_files_changed(store: Store, name: SpaceName, before: Current | None) -> bool:
    """Whether the files of the served indexes are not those that were measured."""
    if before is None or before.indexes is None:
        return False
    try:
        return index_files_digest(store, name, before.table_version) != before.indexes.sha256
    except ContractBroken:  # the version is gone
        return True
