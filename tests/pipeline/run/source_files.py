"""Sources of a few files, of any kind of table, and what a run over them says."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commonspace.pipeline.config.collection import Collection
from tests.support.collection_file import jsonl
from tests.support.warehouse import Warehouse

GATES = {"max_reject_share": 0.5, "max_deleted_share": 0.3, "max_duplicate_vectors": 1.0}
Row = Mapping[str, Any]


def written(kind: str, rows: Sequence[Row]) -> bytes:
    """The rows as a file of a kind."""
    if kind == "jsonl":
        return jsonl(rows)
    if kind == "csv":
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return sink.getvalue().encode()
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), out)
    return bytes(out.getvalue().to_pybytes())


def things(
    warehouse: Warehouse, kind: str, files: Mapping[str, bytes], **options: Any
) -> Collection:
    source = {"kind": kind, "uri": f"in/*.{kind}"}
    raw = {f"in/{name}": data for name, data in files.items()}
    return warehouse.collection(source=source, files=raw, **{"gates": GATES, **options})


def texts(warehouse: Warehouse, space: str = "things/text") -> dict[str, str]:
    """The content digest of each published row."""
    rows = warehouse.open(space).to_arrow()
    return dict(zip(rows["id"].to_pylist(), rows["content_digest"].to_pylist(), strict=True))


def notices(report: dict[str, Any]) -> dict[str, tuple[int, list[str]]]:
    return {n["kind"]: (n["count"], list(n["examples"])) for n in report["notices"]}
