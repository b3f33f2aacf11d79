"""The release to come, before it is written: which of the stored vectors its rows will have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import read_part_groups
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.shards import shard_groups


@dataclass(frozen=True)
class NextRelease:
    """The rows of the release to come, as `id` and `digest`, and where their vectors lie.

    of_published: for each published row, in the order of the parts, how many rows to come have
        its vector: itself if it stays, and the planned rows of its content. of_fresh: the same
        for fresh contents, where it is not 1.
    """

    rows: pa.Table
    of_published: NDArray[np.int64]
    of_fresh: Mapping[str, int]
    changes: bool
    """Whether a row comes or goes."""


def next_release_rows(
    plan: Plan, published: pa.Table, failed: pa.Array, gone: pa.Array
) -> NextRelease:
    """What the plan makes of the published rows (`id`, `content_digest`, part by part).

    failed: digests without a vector; gone: ids that leave without a successor.
    """
    planned = plan.of("encode", "reuse").select(["id", "digest"])
    planned = planned.filter(pc.invert(pc.is_in(planned["digest"], value_set=failed)))
    leaves = pa.concat_arrays([gone, planned["id"].combine_chunks()])
    stays = pc.invert(pc.is_in(published["id"], value_set=leaves))
    held = published["content_digest"].combine_chunks()
    made = plan.of("encode")["digest"].combine_chunks()
    counts = pc.value_counts(planned["digest"].combine_chunks())
    contents, each = counts.field("values"), counts.field("counts").to_numpy()
    first = pc.index_in(contents, value_set=held)
    # What is encoded again gets its new vector, although a published row holds one.
    first = pc.if_else(pc.is_in(contents, value_set=made), None, first)
    known = first.is_valid().to_numpy(zero_copy_only=False)
    of_published = np.array(stays.to_numpy(), np.int64)
    of_published[first.drop_null().to_numpy()] += each[known]
    many = contents.filter(pa.array(~known & (each > 1))).to_pylist()
    staying = published.filter(stays)
    rows = {
        "id": [*staying["id"].chunks, *planned["id"].chunks],
        "digest": [*staying["content_digest"].chunks, *planned["digest"].chunks],
    }
    return NextRelease(
        pa.table({name: pa.chunked_array(found, pa.string()) for name, found in rows.items()}),
        of_published,
        dict(zip(many, each[~known & (each > 1)].tolist(), strict=True)),
        changes=bool(planned.num_rows or len(gone)),
    )


def next_release_contents(
    store: Store,
    contract: Contract,
    base: Release | None,
    shards: Sequence[str],
    coming: NextRelease,
) -> Iterator[Contents]:
    """Every stored vector of the release before and of the shards, some thousand at a time.

    Raises ContractBroken for a damaged part, Conflict where a shard is gone.
    """
    first = 0
    columns = ["content_digest", "vector"]
    parts = base.parts if base else ()
    for table in (some for part in parts for some in read_part_groups(store, part, contract, columns)):
        rows = coming.of_published[first : first + table.num_rows]
        first += table.num_rows
        yield _contents(table, contract.spec.dim, rows, fresh=False)
    for shard in (some for key in shards for some in shard_groups(store, key, contract.spec)):
        shard = shard.filter(pc.is_null(shard["reason"]))
        digests = shard["content_digest"].to_pylist()
        rows = np.array([coming.of_fresh.get(digest, 1) for digest in digests], np.int64)
        yield _contents(shard, contract.spec.dim, rows, fresh=True)


def _contents(table: pa.Table, dim: int, rows: NDArray[np.int64], *, fresh: bool) -> Contents:
    vectors = np.asarray(table["vector"].combine_chunks().flatten()).reshape(-1, dim)
    return Contents(table["content_digest"].combine_chunks(), vectors, rows, fresh)
