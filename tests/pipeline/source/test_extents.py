"""How each file ended, wherever it was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.source.extents import End, Extent
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from tests.pipeline.source.source_records import (
    Item,
    extents_of,
    outcome,
    record,
    records_of,
    rows_of,
    written,
)
from tests.support.warehouse import Warehouse

ROWS: list[Item] = [(f"{n:03}", f'text {n}, with a comma and a "quote"') for n in range(20)]


def read(
    warehouse: Warehouse, kind: str, files: dict[str, bytes]
) -> tuple[list[Record | UnreadableRecord], list[Extent]]:
    source = {"kind": kind, "uri": "raw" if kind == "folder" else f"raw/*.{kind}"}
    source["id"] = "stem" if kind == "folder" else "id"
    raw = {f"raw/{name}": data for name, data in files.items()}
    scanned = list(open_source(warehouse.collection(source=source, files=raw)).scan(EVERYTHING))
    return rows_of(scanned), extents_of(scanned)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_extent_of_each_file_stands_behind_its_records(kind: str, warehouse: Warehouse) -> None:
    (data,) = written(kind, ROWS).values()
    files = {f"raw/{name}.{kind}": data for name in "ab"}
    source = {"kind": kind, "uri": f"raw/*.{kind}"}
    scanned = list(open_source(warehouse.collection(source=source, files=files)).scan(EVERYTHING))
    first, second = scanned[: len(ROWS) + 1], scanned[len(ROWS) + 1 :]
    for name, (*rows, extent) in ("a", first), ("b", second):
        assert [row.origin for row in records_of(rows)] == [f"{name}.{kind}"] * len(ROWS)
        assert extent == Extent(f"{name}.{kind}")


@settings(max_examples=60)
@given(share=st.floats(0, 1))
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_that_is_cut_anywhere_is_told_from_a_whole_one(
    kind: str, share: float, warehouse: Warehouse
) -> None:
    """Except right after a line end, which nobody can tell; the records before the cut are read."""
    ((name, whole),) = written(kind, ROWS).items()
    data = whole[: int(share * len(whole))]
    if kind == "parquet":  # beside another one, without which nothing could be read
        rows, (extent, _) = read(warehouse, kind, {name: data, f"{name}.parquet": whole})
        assert extent.end is (End.WHOLE if data == whole else End.CUT if data else End.EMPTY)
        assert len(rows) == (2 if data == whole else 1) * len(ROWS) + (data not in (b"", whole))
        return
    rows, (extent,) = read(warehouse, kind, {name: data})
    readable = [row for row in rows if isinstance(row, Record)]
    lines = data.splitlines(keepends=True)
    complete = [line for line in lines[kind == "csv" :] if line.endswith(b"\n")]
    assert outcome(readable[: len(complete)]) == [record(*row) for row in ROWS[: len(complete)]]
    is_whole = data.endswith(b"\n")
    if not rows:
        assert extent.end is End.EMPTY
    elif is_whole:
        assert extent.end is End.WHOLE
    elif len(readable) == len(rows):
        assert extent == Extent(name, End.OPEN, readable[-1] if kind == "csv" else None)
    else:
        assert extent.end is End.CUT
        last = rows[-1]
        assert isinstance(last, UnreadableRecord)
        assert last.failure.retryable


@pytest.mark.parametrize("rest", [b"", b"2,b\n", b"2,b"])
def test_a_quote_that_is_open_at_the_end_of_the_file_may_be_closed_later(
    rest: bytes, warehouse: Warehouse
) -> None:
    """What stands behind its line may be of the quoted text."""
    rows, (extent,) = read(warehouse, "csv", {"a.csv": b'id,text\n1,"a\n' + rest})
    broken, *behind = rows
    assert isinstance(broken, UnreadableRecord)
    assert broken.failure.retryable
    assert outcome(behind) == [Reason.BAD_RECORD][: len(rest)]
    assert extent == Extent("a.csv", End.CUT)


@pytest.mark.parametrize(
    ("kind", "data", "end", "reasons"),
    [
        ("csv", b"", End.EMPTY, []),
        ("csv", b"\xef\xbb\xbf", End.EMPTY, []),
        ("csv", b"id,text\n", End.EMPTY, []),
        ("csv", b"id,te", End.EMPTY, []),
        ("csv", b'id,text\n1,"a\n', End.CUT, [Reason.BAD_RECORD]),
        ("csv", b'id,text\n1,"a\n2,b\n', End.CUT, [Reason.BAD_RECORD, Reason.BAD_RECORD]),
        (
            "csv",
            b'id,text\n1,"a" b\n2,c\n',
            End.WHOLE,
            [Reason.BAD_RECORD, {"id": "2", "text": "c"}],
        ),
        ("csv", b'id,text\n1,"a', End.CUT, [Reason.BAD_RECORD]),
        ("jsonl", b"", End.EMPTY, []),
        ("jsonl", b"\n\n", End.EMPTY, []),
        ("jsonl", b'{"id": "1"}', End.OPEN, [{"id": "1"}]),
        ("jsonl", b'{"id": "1"', End.CUT, [Reason.BAD_RECORD]),
        ("jsonl", b'{"id": "1"\n', End.WHOLE, [Reason.BAD_RECORD]),
    ],
)
def test_small_files(
    kind: str, data: bytes, end: End, reasons: list[Any], warehouse: Warehouse
) -> None:
    rows, extents = read(warehouse, kind, {f"a.{kind}": data})
    assert outcome(rows) == reasons
    assert [extent.end for extent in extents] == [end]


def test_of_a_folder_every_folder_above_an_item_is_told(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    files = {"a/b/x.txt": b"x", "a/y + z/y.jpg": b"y", "c/left-out.pdf": b"z"}
    (tmp_path / "raw/empty").mkdir(parents=True)
    _, extents = read(warehouse, "folder", files)
    assert [extent.origin for extent in extents] == [".", "a", "a/b", "a/y + z"]
