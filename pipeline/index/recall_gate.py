"""The gate `index_recall`: a table is served only where its vector index finds what is nearest."""

from __future__ import annotations

from typing import Any

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, GateRefused
from commonspace.pipeline.index.build import IndexState
from commonspace.pipeline.index.checksum import index_files_digest
from commonspace.pipeline.index.connection import connect, open_table, translating_table_errors
from commonspace.pipeline.index.policy import REFINE, partition_count, probe_ladder
from commonspace.pipeline.index.recall import measure_recall, sample_queries
from commonspace.pipeline.index.sync import sync_table
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
    """Make the table and its indices those of the release, and measure what a search finds.

    before: what is served now. Returns the table's version, and what `CURRENT` is to say of its
    indices. Where the files of the indices are not those that were measured, all are built anew;
    an index that finds too little is trained again, once. Where it still finds too little, it is
    told as weak, which makes searches exact; or, with `refuse`, GateRefused is raised. Raises what
    `sync_table` raises.
    """
    known = before.indexes.vector if before and before.indexes else None
    trained = known.trained_rows if known else None
    altered = _index_files_changed(store, name, before)
    done = sync_table(
        store.address, store, name, contract, release, trained, rebuild_indexes=altered
    )
    same = _earlier_measurement(before, release, done)
    found = same or measure_indexes(
        store, name, contract, release, done, fewest=known.nprobes if known else 0
    )
    if is_weak(found) and not done.trained and (refuse or same is None):
        done = sync_table(store.address, store, name, contract, release, trained, retrain=True)
        found = measure_indexes(store, name, contract, release, done)
    if refuse and found is not None and found.vector is not None and is_weak(found):
        raise GateRefused(
            f"gate {RECALL_GATE} refused: {found.vector.to_gate()['message']}",
            item=str(name),
            do='Lower `min_index_recall` in [gates], or set `vector_index = "none"` in the '
            "[[space]], which compares every row; then run again.\n"
            "  Nothing was promoted; what was served before is served still.",
            gates=[found.vector.to_gate()],
        )
    return done.version, found


def measure_indexes(
    store: Store,
    name: SpaceName,
    contract: Contract,
    release: Release,
    done: IndexState,
    fewest: int = 0,
) -> Indexes | None:
    """What there is to say of the indices of a version of the table; None where it has none.

    Probes as few partitions as keep the limit, or all of them where none do. fewest: how many
    the same index was found to need before.
    """
    wanted, vector = release.index_settings, None
    if not release.rows or (done.trained_rows is None and not wanted.text):
        return None
    if done.trained_rows is not None:
        with translating_table_errors(str(name)):
            table = open_table(connect(store.address), name.table)
            if table is None:
                raise ContractBroken("the LanceDB table is gone", item=str(name))
            table.checkout(done.version)
            first = 0 if done.trained else fewest
            vector = _fewest_probes(table, store, contract, release, done.trained_rows, first)
    return Indexes(index_files_digest(store, name, done.version), vector, wanted.text)


def is_weak(found: Indexes | None) -> bool:
    """Whether the vector index finds less than its owner wants."""
    return found is not None and found.vector is not None and found.vector.is_weak


def _fewest_probes(
    table: Any,
    store: Store,
    contract: Contract,
    release: Release,
    trained_rows: int,
    fewest: int,
) -> VectorIndex:
    asked, limit = sample_queries(table, store, contract, release), release.index_settings.min_recall
    whole = partition_count(trained_rows)
    for nprobes in (rung for rung in probe_ladder(whole) if rung >= min(fewest, whole)):
        index = VectorIndex(
            INDEX_KIND, trained_rows, whole, nprobes, REFINE, 0.0, limit, sample=len(asked.ids)
        )
        index = index.with_recall(measure_recall(table, asked, index))
        if not index.is_weak:
            break
    return index


def _earlier_measurement(
    before: Current | None, release: Release, done: IndexState
) -> Indexes | None:
    """What was measured of the same version under the same limit."""
    if before is None or before.indexes is None or before.table_version != done.version:
        return None
    vector, wanted = before.indexes.vector, release.index_settings
    same = before.indexes.text == wanted.text
    same &= (vector.limit if vector else None) == (
        wanted.min_recall if done.trained_rows is not None else None
    )
    return before.indexes if same else None


def _index_files_changed(store: Store, name: SpaceName, before: Current | None) -> bool:
    """Whether the files of the indices that are served are not those that were measured."""
    if before is None or before.indexes is None:
        return False
    try:
        return index_files_digest(store, name, before.table_version) != before.indexes.sha256
    except ContractBroken:  # the version is gone
        return True
