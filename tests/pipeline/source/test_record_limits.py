"""A record beyond the limit is a reject that names it; memory holds no more than the limit."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from tests.pipeline.source.source_records import outcome, record, rows_of
from tests.support.warehouse import Warehouse

LIMIT = 1000
Limited = Callable[..., list[Record | UnreadableRecord]]


@pytest.fixture
def limited(warehouse: Warehouse) -> Limited:
    """Scans one file, no record of which may have more than `LIMIT` bytes."""

    def scan(kind: str, data: bytes, limit: int = LIMIT) -> list[Record | UnreadableRecord]:
        source = open_source(
            warehouse.collection(
                source={"kind": kind, "uri": f"raw.{kind}"},
                files={f"raw.{kind}": data}, limits={"max_record_bytes": limit},
            )
        )  # fmt: skip
        rows = rows_of(source.scan(EVERYTHING))
        good = [row for row in rows if isinstance(row, Record)]
        assert list(source.load([row.locator for row in good])) == good
        return rows

    return scan


def jsonl_line(item: str, size: int) -> bytes:
    start = f'{{"id": "{item}", "text": "'.encode()
    return start + b"x" * (size - len(start) - 3) + b'"}\n'


def test_a_line_of_json_beyond_the_limit(limited: Limited) -> None:
    lines = [jsonl_line("1", LIMIT), jsonl_line("2", LIMIT + 1), jsonl_line("3", 50)]
    rows = limited("jsonl", b"".join(lines))
    assert [isinstance(row, Record) for row in rows] == [True, False, True]
    bad = rows[1]
    assert isinstance(bad, UnreadableRecord)
    assert bad.failure.reason == Reason.TOO_LARGE
    assert bad.failure.message == (
        "the record has too many bytes; `max_record_bytes` in [limits] is 1,000"
    )
    assert bad.place == f"record 2, line 2, byte {LIMIT}"
    assert rows[2].place == f"record 3, line 3, byte {2 * LIMIT + 1}"


LONG = b"x" * LIMIT


@pytest.mark.parametrize(
    ("data", "expected", "lines"),
    [
        (b"id,text\n1," + LONG + b"\n2,b\n", [Reason.TOO_LARGE, record("2", "b")], [2, 3]),
        # The lines of a quoted text are no records, however many they are.
        (b'id,text\n1,"' + b"9,x\n" * LIMIT + b'"\n2,b\n', [Reason.TOO_LARGE, record("2", "b")],
         [2, LIMIT + 3]),
        (b'id,text\n1,"' + LONG + b'""\n9,x"\n2,b\n', [Reason.TOO_LARGE, record("2", "b")], [2, 4]),
        (b'id,text\n1,"a\n' + b"2,b\n" * LIMIT, [Reason.TOO_LARGE], [2]),
        (b'id,text\n1,12" ' + LONG + b"\n2,b\n", [Reason.TOO_LARGE, record("2", "b")], [2, 3]),
        (b"id,text\n1,a\n2," + LONG, [record("1", "a"), Reason.TOO_LARGE], [2, 3]),
    ],
)  # fmt: skip
def test_a_record_of_csv_beyond_the_limit(
    data: bytes, expected: list[Any] | None, lines: Any, limited: Limited
) -> None:
    rows = limited("csv", data)
    if expected is not None:
        assert outcome(rows) == expected
    else:
        assert outcome(rows)[0] == Reason.TOO_LARGE
        assert outcome(rows)[-1] == record("2", "b")
    found = [int(str(row.place).split("line ")[1].split(",")[0]) for row in rows]
    assert found[: len(lines)] == list(lines)


def test_a_first_line_of_csv_beyond_the_limit(limited: Limited, warehouse: Warehouse) -> None:
    data = b"id,text" + LONG + b"\n1,a\n"
    with pytest.raises(
        SourceNotFound, match=r"header line: the record has too many bytes; `max_record"
    ):
        limited("csv", data)
    source = open_source(
        warehouse.collection(
            source={"kind": "csv", "uri": "raw.csv", "columns": ["id", "text"]},
            limits={"max_record_bytes": LIMIT},
        )
    )
    assert outcome(rows_of(source.scan(EVERYTHING))) == [Reason.TOO_LARGE, record("1", "a")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_the_line_after_a_long_one_of_utf16(encoding: str, limited: Limited) -> None:
    text = '{"id": "1"}\n{"id": "2", "text": "' + "\u0a0aü" * LIMIT + '"}\n{"id": "3"}\n'
    rows = limited("jsonl", text.encode(encoding))
    assert outcome(rows) == [{"id": "1"}, Reason.TOO_LARGE, {"id": "3"}]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_decompression_bomb_is_one_reject_and_no_memory(kind: str, limited: Limited) -> None:
    """200 kB that decompress to one line of 200 MB."""
    first = b"id,text\n" if kind == "csv" else b'{"id": "1"}\n'
    last = b"2,b\n" if kind == "csv" else b'{"id": "2", "text": "b"}\n'
    bomb = gzip.compress(first + bytes(200 * 2**20) + b"\n" + last, compresslevel=1)
    tracemalloc.start()
    try:
        rows = limited(kind, bomb, 2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert outcome(rows)[-2:] == [Reason.TOO_LARGE, record("2", "b")]
    assert peak < 20 * 2**20
