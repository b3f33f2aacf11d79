"""The release to come, before it is written: which of the stored vectors its rows will have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import read_part_groups
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.shards import shard_groups


@dataclass(frozen=True, kw_only=True)
class NextRelease:
    """The rows of the release to come, and how many of them have each stored vector.

    Attributes:
        rows: `id` and `digest` of each row.
        rows_by_published: (n,) int64: for each published row, in the order of the parts, how
            many rows to come have its vector: itself if it stays, and the planned rows of its
            content.
        rows_by_new_content: The same for newly encoded contents, by digest, where it is not 1.
        has_changes: Whether a row comes or goes.
    """

    rows: pa.Table
    rows_by_published: NDArray[np.int64]
    rows_by_new_content: Mapping[str, int]
    has_changes: bool


def next_release_rows(
    plan: Plan, published: pa.Table, failed: pa.Array, removed_ids: pa.Array
) -> NextRelease:
    """What the plan makes of the published rows.

    Args:
        plan: what is to be done with each item.
        published: `id`, `content_digest` of the release before, part by part.
        failed: content digests without a vector.
        removed_ids: ids that leave without a successor.
    """
    planned = plan.rows("encode", "reuse").select(["id", "digest"])
    planned = planned.filter(pc.invert(pc.is_in(planned["digest"], value_set=failed)))
    leaving = pa.concat_arrays([removed_ids, planned["id"].combine_chunks()])
    stays = pc.invert(pc.is_in(published["id"], value_set=leaving))
    published_digests = published["content_digest"].combine_chunks()
    encoded_digests = plan.rows("encode")["digest"].combine_chunks()
    counts = pc.value_counts(planned["digest"].combine_chunks())
    contents, rows_each = counts.field("values"), counts.field("counts").to_numpy()
    position = pc.index_in(contents, value_set=published_digests)
    # What is encoded again gets its new vector, although a published row holds one.
    position = pc.if_else(pc.is_in(contents, value_set=encoded_digests), None, position)
    is_published = position.is_valid().to_numpy(zero_copy_only=False)
    rows_by_published = np.array(stays.to_numpy(), np.int64)
    rows_by_published[position.drop_null().to_numpy()] += rows_each[is_published]
    repeated = ~is_published & (rows_each > 1)
    staying = published.filter(stays)
    rows = {
        "id": [*staying["id"].chunks, *planned["id"].chunks],
        "digest": [*staying["content_digest"].chunks, *planned["digest"].chunks],
    }
    return NextRelease(
        rows=pa.table({name: pa.chunked_array(c, pa.string()) for name, c in rows.items()}),
        rows_by_published=rows_by_published,
        rows_by_new_content=dict(
            zip(contents.filter(pa.array(repeated)).to_pylist(), rows_each[repeated].tolist(),
                strict=True)
        ),
        has_changes=bool(planned.num_rows or len(removed_ids)),
    )  # fmt: skip


def next_release_contents(
    store: Store,
    contract: Contract,
    base: Release | None,
    shards: Sequence[str],
    next_release: NextRelease,
) -> Iterator[Contents]:
    """Every stored vector of the release before and of the shards, some thousand at a time.

    Raises:
        ContractBroken: a part is damaged.
        Conflict: a shard is gone.
    """
    columns = ["content_digest", "vector", *_unknown_columns(contract)]
    first = 0
    for part in base.parts if base else ():
        for table in read_part_groups(store, part, contract, columns):
            rows = next_release.rows_by_published[first : first + table.num_rows]
            first += table.num_rows
            yield _contents(table, contract.spec.dim, rows, is_new=False)
    for shard in shards:
        for table in shard_groups(store, shard, contract.spec):
            encoded = table.filter(pc.is_null(table["reason"]))
            digests = encoded["content_digest"].to_pylist()
            counts = [next_release.rows_by_new_content.get(digest, 1) for digest in digests]
            yield _contents(encoded, contract.spec.dim, np.array(counts, np.int64), is_new=True)


def _contents(table: pa.Table, dim: int, rows: NDArray[np.int64], *, is_new: bool) -> Contents:
    digests = table["content_digest"].combine_chunks()
    return Contents(
        digests=digests,
        vectors=vectors_of(table, dim),
        rows=rows,
        mostly_unknown=_mostly_unknown(table),
        is_new=is_new,
    )


def _unknown_columns(contract: Contract) -> list[str]:
    return ["tokens_used", "tokens_unknown"] if contract.spec.modality == "text" else []


def _mostly_unknown(table: pa.Table) -> NDArray[np.bool_]:
    """Which texts have at least half of their tokens unknown."""
    if "tokens_unknown" not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    twice = pc.multiply(table["tokens_unknown"], 2)
    is_so = pc.fill_null(pc.greater_equal(twice, table["tokens_used"]), False)
    return np.asarray(is_so.to_numpy(), np.bool_)
