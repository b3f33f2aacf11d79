"""Rebuild: the LanceDB table of the served release, written again from its Parquet parts."""

from __future__ import annotations

from dataclasses import replace

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import current_key, promotion_lock_key, table_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import NotPublished
from commonspace.pipeline.index.recall_gate import measure_indexes
from commonspace.pipeline.index.sync import rewrite_table
from commonspace.pipeline.maintenance.served_space import promoted_meanwhile
from commonspace.pipeline.publish.promote import recover_promotion
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store


def rebuild_table(store: Store, name: SpaceName, contract: Contract, release: Release) -> Current:
    """Write the table of the served release again; readers of an older version of it keep that.

    A promotion that was interrupted is undone.

    Returns:
        what CURRENT says afterwards.

    Raises:
        Conflict: another release is served.
        ContractBroken: a part of the release is damaged, or the table does not read back.
    """
    with store.lock(promotion_lock_key(name)):
        pointer = _rewrite_and_point(store, name, contract, release)
    recover_promotion(store, name, contract)
    return load_current(store, name) or pointer


def _rewrite_and_point(
    store: Store, name: SpaceName, contract: Contract, release: Release
) -> Current:
    key = current_key(name)
    stored = store.read(key)
    if stored is None:
        raise NotPublished("nothing was promoted", item=str(name))
    served = Current.from_bytes(stored.to_pybytes())
    if served.release != release.number:
        raise promoted_meanwhile(name)
    table = rewrite_table(store, name, contract, release, min_version=served.table_version)
    indexes = measure_indexes(store, name, contract, release, table)
    store.flush(table_folder(name))
    pointer = replace(served, table_version=table.version, indexes=indexes)
    if not store.compare_and_swap(key, stored.to_pybytes(), pointer.to_bytes()):
        raise promoted_meanwhile(name)
    return pointer
