"""Validate's part of golden queries: what each must find in the release to come."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Encoder
from commonspace.pipeline.encode.golden_vectors import (
    has_golden_vectors,
    keep_golden,
    read_golden_vectors,
)
from commonspace.pipeline.gates.golden_recall import Expectation, GoldenRecall
from commonspace.pipeline.pull.passages import has_passages
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.validate.next_release import NextRelease
from commonspace.pipeline.workspace.work import Work

_PASSAGE_SUFFIX = r"#[^#]*$"


def golden_recall(
    work: Work,
    next_release: NextRelease,
    published: pa.Table,
    load_encoder: Callable[[], Encoder],
) -> GoldenRecall | None:
    """The gate over golden queries; None where there are none, or where no row comes or goes.

    Args:
        work: the run's work on the space.
        next_release: its rows.
        published: the `id` and the item of each row of the release before.
        load_encoder: called where this run has encoded nothing, and so no query either.
    """
    if work.space.golden is None or not next_release.has_changes:
        return None
    if not has_golden_vectors(work):
        keep_golden(work, load_encoder())
    queries = read_golden_vectors(work)
    ids = {item for query in queries for item in json.loads(query["ids"])}
    digests = _digests_by_id(next_release.rows, ids, passages=has_passages(work.space))
    known = digests.keys() | _published_ids(ids, published, work.contract.item_column)
    is_partial = work.run.scope != EVERYTHING
    expectations, left_out = [], 0
    for query in queries:
        # What a run over a part of the source has not reached yet is not missed.
        items = [item for item in json.loads(query["ids"]) if item in known or not is_partial]
        left_out += len(json.loads(query["ids"])) - len(items)
        expected = [(item, sorted(digests.get(item, ()))) for item in items]
        vector = np.array(query["vector"], np.float32)
        expectations.append(Expectation(query["shown"], vector, query["k"], expected))
    if not any(expectation.expected for expectation in expectations):
        return None
    remark = f"; {left_out} ids outside the run's scope are not there yet" if left_out else ""
    return GoldenRecall(expectations, work.run.collection.gates.min_golden_recall, remark)


def _published_ids(ids: set[str], published: pa.Table, item_column: str) -> set[str]:
    """Those of the ids that are published: one that this run removes is missed."""
    values = pa.array(ids, pa.string())
    columns = [published[name] for name in {"id", item_column}]
    matches = [column.filter(pc.is_in(column, value_set=values)) for column in columns]
    return {id_ for column in matches for id_ in column.to_pylist()}


def _digests_by_id(rows: pa.Table, ids: set[str], *, passages: bool) -> dict[str, set[str]]:
    """The content digests of the ids' rows; of an item's, where rows are passages."""
    columns = [rows["id"]]
    if passages:
        columns.append(pc.replace_substring_regex(rows["id"], _PASSAGE_SUFFIX, ""))
    digests: dict[str, set[str]] = {}
    for column in columns:
        matches = pc.is_in(column, value_set=pa.array(ids, pa.string()))
        pairs = zip(
            column.filter(matches).to_pylist(),
            rows["digest"].filter(matches).to_pylist(),
            strict=True,
        )
        for id_, digest in pairs:
            digests.setdefault(id_, set()).add(digest)
    return digests
