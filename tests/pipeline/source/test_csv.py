"""CSV: every line is a record or says where and why it is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.source.files import SourceFile
from tests.pipeline.source.source_records import Item, Scan, outcome, record, written


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfid,text\n1,a\n", [record("1", "a")]),
        (b"\xef\xbb\xbfid,text\r\n1,a\r\n2,b\r\n", [record("1", "a"), record("2", "b")]),
        (b'id,text\n1,"a\nb\r\nc"\n2,d', [record("1", "a\nb\r\nc"), record("2", "d")]),
        (b'id,text\n1,"say ""hi"""\n', [record("1", 'say "hi"')]),
        (b"id,text\n001,a\n1e3,b\n-0,c\n",
         [record("001", "a"), record("1e3", "b"), record("-0", "c")]),
        (b"id,text\n1,NULL\n2,\n3,nan\n",
         [record("1", "NULL"), record("2", ""), record("3", "nan")]),
        (b"id,text\n\n1,a\n\n\n2,b\n", [record("1", "a"), record("2", "b")]),
        (b"id,text\n1,a,b\n2\n3,c\n", [Reason.BAD_RECORD, Reason.BAD_RECORD, record("3", "c")]),
        (b"id,text\n1,\xff\n2,b\n", [Reason.BAD_RECORD, record("2", "b")]),
        (b'id,text\n1,"a\n\xff"\n2,b\n', [Reason.BAD_RECORD, record("2", "b")]),
        (b"id,text\n1,a\0b\n2,b\n", [record("1", "a\0b"), record("2", "b")]),
        (b'id,text\n1,a"b\n2,b\n', [record("1", 'a"b'), record("2", "b")]),
        (b"id,text\n 1 , a \n", [record(" 1 ", " a ")]),
        ("id,text\n1,\u2028\x85\x0b\x0c\n2,b\n".encode(), [record("1", "\u2028\x85\x0b\x0c"),
                                                           record("2", "b")]),
        (b"id,text\n1,a\rb\n2,c\n", [Reason.BAD_RECORD, record("2", "c")]),
        # What stands within quotes is no record, wherever they are broken.
        (b'id,text\n1,"a\n2,b\n3,c\n', [Reason.BAD_RECORD] * 3),
        (b'id,text\n1,"a\n2,"b"\n3,c\n', [Reason.BAD_RECORD, record("3", "c")]),
        (b'id,text\n1,"a\n9,b\nthe "q" word"\n9,c\n', [Reason.BAD_RECORD, record("9", "c")]),
        (b'id,text\n1,"a" b\n2,b\n', [Reason.BAD_RECORD, record("2", "b")]),
        (b'id,text\n1,"a\n', [Reason.BAD_RECORD]),
    ],
)  # fmt: skip
def test_csv(data: bytes, expected: list[Any], scan: Scan) -> None:
    assert outcome(scan("csv", data)) == expected


def test_csv_names_columns_and_separates_as_told(scan: Scan) -> None:
    data = "\ufeff1;a,b\n2;c\n".encode()
    rows = scan("csv", data, columns=["id", "text"], delimiter=";")
    assert outcome(rows) == [record("1", "a,b"), record("2", "c")]


@pytest.mark.parametrize("encoding", ["latin-1", "ISO-8859-1", "cp1252", "iso-8859-15"])
def test_csv_in_the_encodings_of_old_tools(encoding: str, scan: Scan) -> None:
    data = "id,text\n1,Käse €uro\n2,ñandú\n".replace("€", "e").encode(encoding)
    assert outcome(scan("csv", data, encoding=encoding))[1] == record("2", "ñandú")


@pytest.mark.parametrize("encoding", ["utf-32", "utf-7", "shift-jis", "klingon", ""])
def test_encodings_that_would_lose_a_records_place_are_refused(encoding: str, scan: Scan) -> None:
    with pytest.raises(UserMistake, match="encoding"):
        scan("csv", b"id,text\n1,a\n", encoding=encoding)


@pytest.mark.parametrize(
    "data",
    [
        b"\n\n",
        b"id,id\n1,a\n",
        b"id,\xff\n1,a\n",
        b"id,text\r1,a\r2,b\r",  # an old Macintosh's line ends
        b'id,"text\n1,a\n2,b\n',
    ],
)
def test_a_csv_without_a_usable_header_line(data: bytes, scan: Scan) -> None:
    with pytest.raises(SourceNotFound, match="no usable header line"):
        scan("csv", data)


def test_a_repeated_column_is_refused_where_it_is_needed(scan: Scan) -> None:
    assert len(scan("csv", b"id,text,n,n\n1,a,2,3\n")) == 1
    with pytest.raises(SourceNotFound, match="more than one column 'n'"):
        scan("csv", b"id,text,n,n\n1,a,2,3\n", metadata=["n"])


def test_csv_texts_beyond_the_limit_of_python(scan: Scan) -> None:
    text = "x" * 1_000_000
    assert outcome(scan("csv", f"id,text\n1,{text}\n2,b\n".encode())) == [
        record("1", text), record("2", "b"),
    ]  # fmt: skip


@settings(max_examples=150)
@given(rows=st.lists(st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1),
    st.text(st.characters(codec="utf-8")),
), max_size=8))  # fmt: skip
def test_whatever_a_csv_writer_writes_is_read(rows: list[Item], scan: Scan) -> None:
    assert outcome(scan("csv", written("csv", rows)["data.csv"])) == [record(*row) for row in rows]


@settings(max_examples=150)
@given(body=st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "é", "\0", '""']), max_size=40))
def test_no_line_of_a_broken_csv_vanishes(body: list[str], scan: Scan) -> None:
    """Good last lines come through whatever stands before them."""
    data = ("id,text\n" + "".join(body) + "\nx,1\ny,2\n").encode()
    rows = scan("csv", data)
    if '"' not in "".join(body):
        assert outcome(rows)[-2:] == [record("x", "1"), record("y", "2")]
    covered = [SourceFile.parse_locator(row.locator)[1:] for row in rows]
    ends = [start + length for start, length in covered]
    starts = [start for start, _ in covered]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    between = [data[a:b] for a, b in zip([8, *ends], [*starts, len(data)], strict=True)]
    assert all(not gap.strip(b"\r\n") for gap in between)
