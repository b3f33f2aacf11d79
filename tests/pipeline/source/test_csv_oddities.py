"""CSV as Excel, MySQL, pandas and Oracle write it: read, or refused for the cause that it has."""

from __future__ import annotations

from typing import Any

import pytest

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.records import UnreadableRecord
from tests.pipeline.source.source_records import Scan, outcome, record

ONE = [record("1", "one")]


@pytest.mark.parametrize(
    ("data", "expected", "source"),
    [
        # Excel's line about the delimiter, also before a text of several lines, also unneeded.
        (b"sep=;\nid;text\n1;one\n", ONE, {}),
        (b'"sep=;"\r\nid;text\r\n1;"o\nne"\r\n', [record("1", "o\nne")], {}),
        (b"\xef\xbb\xbfsep=\t\nid\ttext\n1\tone\n", ONE, {}),
        (b"sep=;\n1;one\n", ONE, {"columns": ["id", "text"]}),
        (b"sep=,\nid,text\n1,one\n", ONE, {"delimiter": ","}),
        # Columns without a name: at the end they must be empty, elsewhere they are left out.
        (b"id,text,\n1,one,\n2,two,\n", [*ONE, record("2", "two")], {}),
        (b"id,text,,\n1,one,,\n", ONE, {}),
        (b",id,text\n0,1,one\n", ONE, {}),
        (b"id,text,\n1,one,two\n2,x\n", [Reason.BAD_RECORD, Reason.BAD_RECORD], {}),
        # Blanks behind delimiters, in the header and so in the rows.
        (b"id, text\n1, one\n", ONE, {}),
        (b'id, "text"\n1, "o, ne"\n2,two\n', [record("1", "o, ne"), record("2", "two")], {}),
        (b" id ,text \n1, one\n", [record("1", " one")], {}),
        # Quotes that are escaped.
        (b'id,text\n1,"say \\"hi\\", you"\n', [record("1", 'say "hi", you')], {"escape": "\\"}),
        (b'id,text\n1,"a ""b"" \\\\ c"\n', [record("1", 'a "b" \\ c')], {"escape": "\\"}),
        # Comments, also between records, but not within one.
        (b"# of 2026\nid,text\n1,one\n", ONE, {"comment": "#"}),
        (b'# a "quote\nid,text\n# b\n1,"a\n# c"\n#\n2,d\n',
         [record("1", "a\n# c"), record("2", "d")], {"comment": "#"}),
        (b"-- x\n1,one\n-- 1 row\n", ONE, {"comment": "--", "columns": ["id", "text"]}),
        # A footer is a record of another width.
        (b"id,text\n1,one\n\n(1 row affected)\n", [*ONE, Reason.BAD_RECORD], {}),
        (b"\n\nid,text\n1,one\n", ONE, {}),
    ],
)  # fmt: skip
def test_what_is_read(data: bytes, expected: list[Any], source: dict[str, Any], scan: Scan) -> None:
    assert outcome(scan("csv", data, **source)) == expected


@pytest.mark.parametrize(
    ("data", "cause", "do", "source"),
    [
        (b"id;text\n1;one\n", "'id;text' would be one column", 'delimiter = ";"', {}),
        (b"id\ttext\n1\tone\n", "would be one column", 'delimiter = "\\t"', {}),
        (b"id|text\n1|one\n", "would be one column", 'delimiter = "|"', {}),
        (b"id,text\n1,one\n", "would be one column", 'delimiter = ","', {"delimiter": ";"}),
        (b"# of 2026\nid,text\n1,one\n", "'# of 2026' is a comment", 'comment = "#"', {}),
        (b"id,\xe9\n1,a\n", "it is not valid utf-8", "encoding", {}),
        (b"id,text\r1,one\r", "its lines end in carriage returns alone", "tr", {}),
        (b"id,text,id\n1,a,b\n", "it names more than one column 'id'", "", {}),
        (b"id,text\n1,one\n", "has a header line", "Remove `columns`", {"columns": ["id", "text"]}),
        (b"Text,ID\none,1\n", "has a header line", "Remove `columns`", {"columns": ["id", "text"]}),
        (b"id,text,x\n1,one,2\n", "has a header line", "Remove", {"columns": ["id", "text", "y"]}),
    ],
)  # fmt: skip
def test_what_is_refused_names_the_cause_and_what_helps(
    data: bytes, cause: str, do: str, source: dict[str, Any], scan: Scan
) -> None:
    with pytest.raises(SourceNotFound) as error:
        scan("csv", data, **source)
    assert cause in str(error.value)
    assert do in str(error.value)
    if "columns" not in source:
        assert "columns" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message", "source"),
    [
        (b'id,text\n1,"say \\"hi\\", you"\n', "the source needs escape = '\\'", {}),
        (b"id,text\n1,a\rb\n", "has a carriage return that ends no line and is not quoted", {}),
        (b"1;one\n", 'has 1 fields, the header has 2; is it delimiter = ";"?',
         {"columns": ["id", "text"]}),
        (b"id,text,\n1,on,e\n", "has a value in field 3, which the header does not name", {}),
    ],
)  # fmt: skip
def test_a_reject_names_the_cause(
    data: bytes, message: str, source: dict[str, Any], scan: Scan
) -> None:
    (row,) = scan("csv", data, **source)
    assert isinstance(row, UnreadableRecord)
    assert row.failure.message.endswith(message)


def test_comments_do_not_move_a_records_place(scan: Scan) -> None:
    rows = scan("csv", b"# a\nid,text\n# b\n\n1\n", comment="#")
    assert [row.place for row in rows] == ["record 1, line 5, byte 17"]


def test_a_first_record_that_shares_one_word_with_the_columns_is_a_record(scan: Scan) -> None:
    rows = scan("csv", b"1,text\n2,two\n", columns=["id", "text"])
    assert outcome(rows) == [record("1", "text"), record("2", "two")]
