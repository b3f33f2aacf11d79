"""Golden queries of a space: encoded beside its items, held against the release to come."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.encode.golden import GOLDEN_VECTORS, keep_golden
from commonspace.pipeline.gates.golden import Expectation, GoldenRecall
from commonspace.pipeline.pull.passages import has_passages
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.validate.next_release import NextRelease
from commonspace.pipeline.workspace.work import Work

_PASSAGE = r"#[^#]*$"


def golden_recall(
    work: Work, coming: NextRelease, published: pa.Table, load: Callable[[], Encoder]
) -> GoldenRecall | None:
    """The gate's watcher; None where there are no golden queries or no row comes or goes.

    published: the `id` and the item of each row of the release before.
    load: gives the encoder where this run has encoded nothing, and so no query either.
    """
    if work.space.golden is None or not coming.changes:
        return None
    if not work.has(GOLDEN_VECTORS):
        keep_golden(work, load())
    data = work.run.store.read(work.path(GOLDEN_VECTORS))
    noted = read_table(data, work.path(GOLDEN_VECTORS)).to_pylist() if data is not None else []
    wanted = {item for row in noted for item in json.loads(row["ids"])}
    held = _digests(coming.rows, wanted, passages=has_passages(work.space))
    partial = work.run.scope != EVERYTHING
    known = held.keys() | _among(wanted, published, work.contract.item_column)
    golden, left_out = [], 0
    for row in noted:
        ids = json.loads(row["ids"])
        asked = [(item, sorted(held.get(item, ()))) for item in ids if item in known or not partial]
        left_out += len(ids) - len(asked)
        vector = np.array(row["vector"], np.float32)
        golden.append(Expectation(row["shown"], vector, row["k"], asked))
    if not any(one.wanted for one in golden):
        return None
    said = f"; {left_out} ids outside the run's scope are not there yet" if left_out else ""
    return GoldenRecall(golden, work.run.collection.gates.min_golden_recall, said)


def _among(wanted: set[str], published: pa.Table, item_column: str) -> set[str]:
    """Those of the wanted ids that are published: one that this run removes is missed."""
    named = pa.array(wanted, pa.string())
    columns = (published[name] for name in {"id", item_column})
    return {i for ids in columns for i in ids.filter(pc.is_in(ids, value_set=named)).to_pylist()}


def _digests(rows: pa.Table, wanted: set[str], *, passages: bool) -> dict[str, set[str]]:
    """The content digests of the wanted ids' rows; of an item's, where rows are passages."""
    named = [rows["id"], pc.replace_substring_regex(rows["id"], _PASSAGE, "")]
    found: dict[str, set[str]] = {}
    for ids in named if passages else named[:1]:
        mine = pc.is_in(ids, value_set=pa.array(wanted, pa.string()))
        pairs = zip(ids.filter(mine).to_pylist(), rows["digest"].filter(mine).to_pylist(),
                    strict=True)  # fmt: skip
        for item, digest in pairs:
            found.setdefault(item, set()).add(digest)
    return found
