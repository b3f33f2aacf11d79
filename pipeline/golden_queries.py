"""Golden queries of a space: encoded beside its items, held against the release to come."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from encoders.protocol import Encoder
from pipeline.coming import Coming
from pipeline.contract import bad_vectors
from pipeline.errors import ContractBroken, UserMistake
from pipeline.gates import Expectation, GoldenRecall
from pipeline.golden_file import GoldenQuery, read_golden
from pipeline.parquet import read_table, table_bytes
from pipeline.passages import has_passages
from pipeline.records import EVERYTHING
from pipeline.schemas import vector_type
from pipeline.workspace import Work

NOTED = "golden.parquet"
_PASSAGE = r"#[^#]*$"


def check_golden(work: Work, items: pa.Table, published: pa.Table) -> None:
    """Refuse golden queries that cannot be meant, before anything is encoded.

    items, published: what the source offers and what is published, by `contract.item_column`
    and `id`. Raises UserMistake for a wrong line, and for an id that neither holds; a run over
    a part of the source does not judge ids, as the rest may be yet to come.
    """
    golden = _declared(work)
    if not golden or work.run.scope != EVERYTHING:
        return
    columns = {"id", work.contract.item_column}
    known = pa.concat_arrays([t[c].combine_chunks() for t in (items, published) for c in columns])
    wanted = pa.array(dict.fromkeys(item for one in golden for item in one.ids), pa.string())
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=known)))
    if len(unknown):
        raise UserMistake(
            f"golden queries want {len(unknown)} ids that the source does not offer and that are "
            f"not published: {unknown[0].as_py()!r}",
            item=str(work.run.collection.golden(work.space)),
            do="Correct the ids, or take them out.",
        )


def keep_golden(work: Work, encoder: Encoder) -> None:
    """Encode the golden queries as queries, and keep their vectors for the gate.

    Raises UserMistake for a query that cannot be encoded.
    """
    golden = _declared(work)
    if not golden or work.has(NOTED):
        return
    vectors = np.zeros((len(golden), work.spec.dim), np.float32)
    for kind in (str, bytes):
        at = [n for n, one in enumerate(golden) if isinstance(one.content, kind)]
        if at:
            vectors[at] = _encoded([golden[n] for n in at], work, encoder)
    flat = pa.array(vectors.reshape(-1), pa.float32())
    table = {
        "shown": [one.shown for one in golden],
        "ids": [json.dumps(list(one.ids)) for one in golden],
        "k": [one.k for one in golden],
        "vector": pa.FixedSizeListArray.from_arrays(flat, type=vector_type(work.spec)),
    }
    work.run.store.replace(work.path(NOTED), table_bytes(pa.table(table)))


def golden_recall(
    work: Work, coming: Coming, published: pa.Table, load: Callable[[], Encoder]
) -> GoldenRecall | None:
    """The gate's watcher; None where there are no golden queries or no row comes or goes.

    published: the `id` and the item of each row of the release before.
    load: gives the encoder where this run has encoded nothing, and so no query either.
    """
    if work.space.golden is None or not coming.changes:
        return None
    if not work.has(NOTED):
        keep_golden(work, load())
    data = work.run.store.read(work.path(NOTED))
    noted = read_table(data, work.path(NOTED)).to_pylist() if data is not None else []
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


def _declared(work: Work) -> list[GoldenQuery]:
    path = work.run.collection.golden(work.space)
    return read_golden(path, {work.spec.modality, *work.spec.queries}) if path else []


def _encoded(golden: list[GoldenQuery], work: Work, encoder: Encoder) -> NDArray[np.float32]:
    encoded = encoder.encode([one.content for one in golden], purpose="query")
    for position, failure in encoded.failures.items():
        raise UserMistake(
            f"the golden query {golden[position].shown} cannot be encoded: {failure.message}",
            item=str(work.run.collection.golden(work.space)),
        )
    if encoded.vectors.shape != (len(golden), work.spec.dim) or (
        bad_vectors(encoded.vectors, work.spec).any()
    ):
        raise ContractBroken("the encoder gave unusable vectors of golden queries")
    return encoded.vectors


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
