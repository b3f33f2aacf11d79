"""Lines of JSON: every line is a record or says where and why it is none."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import ANY

import pytest

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.source.conversion.numbers import WrittenNumber
from commonspace.pipeline.source.records import UnreadableRecord
from tests.pipeline.source.source_records import Scan, outcome, record, records_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'\xef\xbb\xbf{"id": "1", "text": "a"}\n', [record("1", "a")]),
        (b'{"id": "1", "text": "a"}\r\n{"id": "2", "text": "b"}',
         [record("1", "a"), record("2", "b")]),
        (b'\n \n{"id": "1", "text": "a"}\n\t\n', [record("1", "a")]),
        (
            b'{"id": "1", "text": "a"}\n{"id": \n{"id": "3", "text": "c"}\n',
            [record("1", "a"), Reason.BAD_RECORD, record("3", "c")],
        ),
        (b'[1]\nnull\n7\n"x"\ntrue\n{}\n', [Reason.BAD_RECORD] * 5 + [{}]),
        (b'{"id": 7, "text": null}\n{"id": "7", "text": 7}\n', [record(7, None), record("7", 7)]),
        (b'{"id": "1", "text": "\xff"}\n{"id": "2", "text": "b"}\n', [Reason.BAD_RECORD,
                                                                     record("2", "b")]),
        (b'{"id": "1", "text": "\\ud800"}\n', [record("1", "\ud800")]),
        (b'{"id": "1", "text": "a"} {"id": "2", "text": "b"}\n', [Reason.BAD_RECORD]),
        ('{"id": "1", "text": "a\u2028b\x85"}\n'.encode(), [record("1", "a\u2028b\x85")]),
        (b"{" + b'"a":{' * 100_000 + b"\n" + b'{"id": "2", "text": "b"}\n', [Reason.BAD_RECORD,
                                                                           record("2", "b")]),
        (b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", [Reason.BAD_RECORD]),
    ],
)  # fmt: skip
def test_jsonl(data: bytes, expected: list[Any], scan: Scan) -> None:
    assert outcome(scan("jsonl", data)) == expected


def test_a_number_that_does_not_fit_is_what_is_written(scan: Scan) -> None:
    """Python makes infinity of it, or reads none of the line; where nobody asks, it may."""
    long = "1" + "0" * 5000
    numbers = ["1e309", "-1E+309", f"{long}.5", long, f"-{long}", "1e99999999"]
    lines = [f'{{"id": "1", "text": {n}, "z": 1e309}}' for n in numbers]
    rows = scan("jsonl", "\n".join(lines).encode())
    assert outcome(rows) == [{**record("1", n), "z": ANY} for n in numbers]
    assert {type(row.values["text"]) for row in records_of(iter(rows))} == {WrittenNumber}
    lines = [f'{{"id": "1", "text": [1.5, {{"a": [{n}]}}]}}' for n in numbers]
    rows = scan("jsonl", "\n".join(lines).encode())
    assert outcome(rows) == [record("1", [1.5, {"a": [n]}]) for n in numbers]
    fits = b'{"id": 1, "text": [Infinity, -Infinity, 1e308, 1e-400, 1' + b"0" * 308 + b", 2]}"
    inf = float("inf")
    assert outcome(scan("jsonl", fits)) == [record(1, [inf, -inf, 1e308, 0.0, 10**308, 2])]  # type: ignore[arg-type]


def test_a_bad_line_says_where_and_why(scan: Scan) -> None:
    bad = scan("jsonl", b'{"id": "1"}\n[1]\n')[1]
    assert isinstance(bad, UnreadableRecord)
    assert bad.origin == "raw.jsonl"
    assert bad.failure.message == "is no JSON object but list"


@pytest.mark.parametrize(
    "line",
    [b'{"id":"1","text":"a","id":"2"}', b'{"id" : "1", "text" : "a", "id" : "2"}',
     b'{"id":"1","text":"a","i\\u0064":"2"}', b'{"id":"1","text":"a","n":{"a":1,"a":2}}',
     b'{"id":"1","text":"a","id"\t:"2"}', b'{"id":"1","text":"a","id" :"2"}'],
)  # fmt: skip
def test_an_object_with_a_key_twice_is_a_reject_that_names_it(line: bytes, scan: Scan) -> None:
    (row,) = scan("jsonl", line + b"\n")
    assert isinstance(row, UnreadableRecord)
    assert row.failure.reason is Reason.BAD_RECORD
    assert "the key 'id' twice" in row.failure.message or "the key 'a' twice" in row.failure.message


@pytest.mark.parametrize("text", ['a ":b', "a : b", '":":":', "\t:"])
def test_colons_and_nested_keys_are_no_repeated_ones(text: str, scan: Scan) -> None:
    item = {"id": "1", "text": text, "n": [{"a": 1}, {"a": 2}]}
    assert outcome(scan("jsonl", json.dumps(item).encode() + b"\n")) == [item]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "1" "text"}', "Expecting ',' delimiter, at character 12 of the line"),
        (b'{"id": "1', "Invalid control character, at character 10 of the line"),
        (
            b'\xef\xbb\xbf{"id": "1"}',
            "Unexpected UTF-8 BOM (decode using utf-8-sig), at character 1 of the line",
        ),
    ],
)
def test_the_place_within_a_line_is_not_taken_for_one_in_the_file(
    line: bytes, message: str, scan: Scan
) -> None:
    bad = scan("jsonl", b'{"id": "0"}\n' + line + b"\n")[1]
    assert isinstance(bad, UnreadableRecord)
    assert bad.failure.message == f"is not valid JSON: {message}"
