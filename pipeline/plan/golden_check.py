"""The plan's part of golden queries: each must be readable, and ask for ids that exist."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.plan.golden_file import GoldenQuery, read_golden
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.workspace.work import Work


def check_golden(work: Work, items: pa.Table, published: pa.Table) -> None:
    """Refuse golden queries that no release can meet, before anything is encoded.

    A run over a part of the source does not judge ids, as the rest may be yet to come.

    Args:
        work: the run's work on the space.
        items: what the source offers, with `id` and `contract.item_column`.
        published: the rows of the release before, with the same columns.

    Raises:
        UserMistake: a line of the file is wrong, or neither table has an id that it names.
    """
    queries = golden_queries(work)
    if not queries or work.run.scope != EVERYTHING:
        return
    columns = {"id", work.contract.item_column}
    known = pa.concat_arrays(
        [table[name].combine_chunks() for table in (items, published) for name in columns]
    )
    expected = pa.array(dict.fromkeys(id_ for query in queries for id_ in query.ids), pa.string())
    unknown = expected.filter(pc.invert(pc.is_in(expected, value_set=known)))
    if len(unknown):
        raise UserMistake(
            f"golden queries want {len(unknown)} ids that the source does not offer and that are "
            f"not published: {unknown[0].as_py()!r}",
            item=str(work.run.collection.golden_file(work.space)),
            do="Correct the ids, or take them out.",
        )


def golden_queries(work: Work) -> list[GoldenQuery]:
    """The golden queries of the space; empty where it has none.

    Raises:
        UserMistake: a line of the file is wrong.
    """
    path = work.run.collection.golden_file(work.space)
    if path is None:
        return []
    limit = work.run.collection.limits.max_file_bytes
    return read_golden(path, {work.spec.modality, *work.spec.queries}, limit)
