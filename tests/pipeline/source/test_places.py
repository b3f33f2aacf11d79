"""Where a record is, so that a person finds it: record, line and byte; row group and row."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.source.files import SourceFile
from commonspace.pipeline.source.records import Record, UnreadableRecord, place_of
from tests.pipeline.source.source_records import Item, Scan, written
from tests.pipeline.source.test_parquet import parquet


def places(rows: list[Record | UnreadableRecord], *, bad: bool = True) -> list[str | None]:
    return [row.place for row in rows if isinstance(row, UnreadableRecord) or not bad]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("jsonl", b'{"id": 1}\n[1]\n', ["record 2, line 2, byte 10"]),
        ("jsonl", b'\xef\xbb\xbf[1]\r\n\r\n \n[2]', ["record 1, line 1, byte 3",
                                                        "record 2, line 4, byte 12"]),
        ("jsonl", '{"id": "é"}\n{"\n'.encode(), ["record 2, line 2, byte 13"]),
        ("csv", b"id,text\n1,a\n2\n", ["record 2, line 3, byte 12"]),
        ("csv", b"\xef\xbb\xbfid,text\r\n\r\n1\r\n", ["record 1, line 3, byte 14"]),
        # Records of several lines, before and as the broken one.
        ("csv", b'id,text\n1,"a\nb\n\nc"\n2,"x\ny",z\n3,c\n', ["record 2, line 6, byte 19"]),
        ("csv", b'id,text\n1,"a\n2,b\n3\n', ["record 1, line 2, byte 8",
                                           "record 2, line 3, byte 13",
                                           "record 3, line 4, byte 17"]),
        ("csv", b'id,text\n1,"a\nb" c\n3\n', ["record 1, line 2, byte 8",
                                              "record 2, line 4, byte 18"]),
    ],
)  # fmt: skip
def test_a_broken_record_of_a_text_file(
    kind: str, data: bytes, expected: list[str], scan: Scan
) -> None:
    assert places(scan(kind, data)) == expected


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_line_1234_of_2000(kind: str, scan: Scan) -> None:
    lines = written(kind, [(str(n), f"text {n}") for n in range(2000)])[f"data.{kind}"]
    before, broken = lines.splitlines(keepends=True), b"1233,text,extra\n"
    header = int(kind == "csv")
    before[1233 + header] = broken if header else b'{"id": "1233", "text": "text\n'
    (place,) = places(scan(kind, b"".join(before)))
    byte = len(b"".join(before[: 1233 + header]))
    assert place == f"record 1234, line {1234 + header}, byte {byte}"


def test_a_row_of_parquet_by_its_row_group(scan: Scan) -> None:
    data = parquet(pa.table({"id": list("12345"), "text": list("abcde")}), row_group_size=2)
    assert places(scan("parquet", data), bad=False)[3:] == [
        "row group 1, row 1, record 4", "row group 2, row 0, record 5",
    ]  # fmt: skip


def test_empty_row_groups_are_counted(scan: Scan) -> None:
    table = pa.table({"id": ["1", "2"], "text": ["a", "b"]})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema) as writer:
        for part in (table.slice(0, 1), table.slice(0, 0), table.slice(1, 1)):
            writer.write_table(part)
    rows = scan("parquet", sink.getvalue().to_pybytes())
    expected = ["row group 0, row 0, record 1", "row group 2, row 0, record 2"]
    assert places(rows, bad=False) == expected


TEXTS = st.text(st.characters(codec="utf-8"), max_size=9)


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8),
    kind=st.sampled_from(["csv", "jsonl"]),
)
def test_the_line_and_the_byte_are_those_of_the_file(
    rows: list[Item], kind: str, scan: Scan
) -> None:
    """Whatever stands in the texts: the byte begins a line, and as many line breaks precede it."""
    data = written(kind, rows)[f"data.{kind}"]
    for number, place in enumerate(places(scan(kind, data), bad=False), start=1):
        assert place is not None
        record, line, byte = (int(part.split()[1]) for part in place.split(", "))
        assert record == number
        assert line == data[:byte].count(b"\n") + 1
        if kind == "jsonl":
            assert json.loads(data[byte:].splitlines()[0])["id"] == rows[number - 1][0]


def test_a_folders_files_have_no_place_and_no_name_is_taken_for_one() -> None:
    assert place_of("/photos\0record 1, line 2, byte 3") is None
    assert place_of("record 1, line 2, byte 3.txt") is None


def test_a_locator_of_before_there_were_places_is_still_read() -> None:
    file, start, length = SourceFile.parse_locator("12:5:7:a.jsonl/data/a.jsonl")
    assert (file.name, str(file.path), start, length) == ("a.jsonl", "/data/a.jsonl", 12, 5)
    assert place_of("12:5:7:a.jsonl/data/a.jsonl") is None
