"""What a space's releases are, as LanceDB and the history tell it."""

from __future__ import annotations

from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.release.history import list_releases
from tests.support.warehouse import NAME, Warehouse


def lancedb_ids(warehouse: Warehouse) -> set[str]:
    """The ids that a plain LanceDB client sees."""
    table = connect(warehouse.address).open_table(NAME.table)
    return set(table.to_arrow()["id"].to_pylist())


def release_states(warehouse: Warehouse) -> dict[int, str]:
    """The state of each release by its number."""
    return {release.number: release.state for release in list_releases(warehouse.store, NAME)}
