"""Rejects as the stages of a run read them: those of its pull, and what each says of its item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.config.sections import SpaceSection, space_key
from commonspace.pipeline.contract.layout import pull_rejects_key
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.pull.items import read_item_locations
from commonspace.pipeline.pull.passages import has_passages, item_of_passage
from commonspace.pipeline.source.records import place_of
from commonspace.pipeline.workspace.work import Work


def read_pull_rejects(work: Work) -> pa.Table:
    """REJECTS_SCHEMA rows: what `pull` rejected for this space, alone or for every space.

    Raises:
        UserMistake: the pull stage has not run.
    """
    key = pull_rejects_key(work.run.folder)
    data = work.run.store.read(key)
    if data is None:
        raise UserMistake("the pull stage has not run", item=f"run {work.run.id}")
    table = read_table(data, key)
    return table.filter(pc.or_(_is_of(table, work.space), pc.is_null(table["space"])))


def count_absent(without_content: pa.Table, pull_rejects: pa.Table, space: SpaceSection) -> int:
    """How many items have no content for the space, rather than one that `pull` refused.

    Args:
        without_content: `id` and `partition` of the items that have none or a refused one.
        pull_rejects: REJECTS_SCHEMA rows. One of another partition than its item's is of an older
            record, and says nothing of the item.
        space: the space.
    """
    refused = pull_rejects.filter(_is_of(pull_rejects, space))
    row = pc.index_in(refused["id"], value_set=without_content["id"].combine_chunks())
    partition = pc.fill_null(without_content["partition"].combine_chunks().take(row), "")
    is_same = pc.equal(partition, pc.fill_null(refused["partition"], ""))
    refused_here = refused.filter(pc.and_(pc.is_valid(row), is_same))
    return int(without_content.num_rows - refused_here.num_rows)


def rejected_item(row: Mapping[str, Any], space: SpaceSection) -> str | None:
    """The item that a reject is or is a passage of: only `encode` knows an item by its passages."""
    is_passage = has_passages(space) and row["stage"] == "encode"
    return item_of_passage(row["id"]) if is_passage else row["id"]


def is_in_scope(row: Mapping[str, Any], work: Work) -> bool:
    """Whether a reject of a release is of what the run may change."""
    scope = work.run.scope
    if scope.ids is not None:
        return rejected_item(row, work.space) in scope.ids
    return scope.partition is None or row["partition"] == scope.partition


def reject_places(work: Work, ids: Sequence[str]) -> dict[str, str | None]:
    """Where in its file each of these planned items stands now, as `place_of` says it."""
    if not ids:
        return {}
    rows = read_item_locations(work, pa.array(ids, pa.string()), ["locator"])
    locators = rows["locator"].to_pylist()
    return {item: place_of(at) for item, at in zip(rows["id"].to_pylist(), locators, strict=True)}


def _is_of(rejects: pa.Table, space: SpaceSection) -> pa.ChunkedArray:
    """True for what was rejected for this space alone."""
    return pc.fill_null(pc.equal(rejects["space"], space_key(space)), False)
