"""Records of a source, and what a test says of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from commonspace.pipeline.source.extents import Extent
from commonspace.pipeline.source.protocol import Scanned
from commonspace.pipeline.source.records import Record, UnreadableRecord

ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals()
    | st.text(st.characters(), max_size=5) | st.binary(max_size=5) | st.uuids()
    | st.dates() | st.times() | st.datetimes() | st.timedeltas()
    | st.floats(width=32).map(np.float32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip
"""A value of each type that a source gives, nested ones included."""

Item = tuple[str, str]
Scan = Callable[..., list[Record | UnreadableRecord]]


def written(kind: str, rows: Sequence[Item]) -> dict[str, bytes]:
    """The rows as files of a kind: name below the source's folder, and bytes."""
    if kind == "folder":
        return {f"{item}.txt": text.encode() for item, text in rows}
    if kind == "csv":
        sink = io.StringIO(newline="")
        csv.writer(sink).writerows([("id", "text"), *rows])
        return {"data.csv": sink.getvalue().encode()}
    if kind == "jsonl":
        lines = [json.dumps({"id": item, "text": text}) + "\n" for item, text in rows]
        return {"data.jsonl": "".join(lines).encode()}
    table = pa.table({"id": [item for item, _ in rows], "text": [text for _, text in rows]})
    out = pa.BufferOutputStream()
    pq.write_table(table, out, row_group_size=7)
    return {"data.parquet": out.getvalue().to_pybytes()}


def rows_of(scanned: Iterable[Scanned]) -> list[Record | UnreadableRecord]:
    """The records that are scanned, readable or not."""
    return [found for found in scanned if isinstance(found, Record | UnreadableRecord)]


def records_of(scanned: Iterable[Scanned]) -> list[Record]:
    """The readable ones."""
    return [found for found in scanned if isinstance(found, Record)]


def extents_of(scanned: Iterable[Scanned]) -> list[Extent]:
    return [found for found in scanned if isinstance(found, Extent)]


def outcome(rows: list[Record | UnreadableRecord]) -> list[Any]:
    """The values of good rows, and the reason of bad ones."""
    return [row.values if isinstance(row, Record) else row.failure.reason for row in rows]


def record(item: str, text: Any) -> dict[str, Any]:
    return {"id": item, "text": text}
