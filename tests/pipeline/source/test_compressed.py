"""Compressed text is read as what it is, whatever its name; what is no text is refused by its name.

So is text in UTF-16.
"""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.extents import End, Extent
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from commonspace.pipeline.source.text.open_streams import OPEN_STREAMS
from tests.pipeline.source.source_records import (
    Scan,
    extents_of,
    outcome,
    record,
    records_of,
    rows_of,
    written,
)
from tests.pipeline.source.test_parquet import parquet
from tests.support.warehouse import Warehouse

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
}
ROWS = [(f"{n:05}", f"text {n} ü") for n in range(6_000)]
FEW = ROWS[:3]


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_compressed_text_is_read_whatever_its_suffix(
    kind: str, compress: Callable[[bytes], bytes], scan: Scan
) -> None:
    data = written(kind, ROWS)[f"data.{kind}"]
    rows = scan(kind, compress(data))
    assert outcome(rows) == [record(*row) for row in ROWS]
    assert [row.place for row in rows] == [row.place for row in scan(kind, data)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_streams_that_follow_each_other_are_one(compression: str, scan: Scan) -> None:
    parts = (written("jsonl", ROWS[n : n + 3_000])["data.jsonl"] for n in (0, 3_000))
    rows = scan("jsonl", b"".join(map(COMPRESSIONS[compression], parts)))
    assert outcome(rows) == [record(*row) for row in ROWS]


@pytest.mark.parametrize("zeros", [1, 4, 9, 70_000, 300_000])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_zeros_behind_the_last_stream_are_its_end(compression: str, zeros: int, scan: Scan) -> None:
    """Of a stream that ends with zeros of its own, too: those of the length that gzip writes."""
    compress = COMPRESSIONS[compression]
    data = compress(written("jsonl", FEW)["data.jsonl"]) + compress(b"")
    assert outcome(scan("jsonl", data + bytes(zeros))) == [record(*row) for row in FEW]


def zstd_frame(*blocks: tuple[int, bytes], window_log: int = 20) -> bytes:
    """A frame of blocks as they are (kind 0), or of one byte that is repeated (kind 1)."""
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3])
    for number, (kind, data) in enumerate(blocks, 1):
        header = len(data) << 3 | kind << 1 | (number == len(blocks))
        frame += header.to_bytes(3, "little") + (data[:1] if kind else data)
    return frame


def test_a_zstd_frame_may_end_with_zeros_of_its_own(scan: Scan) -> None:
    """Those of a block, and of a frame to skip, are no padding."""
    data = zstd_frame((0, b'{"id": "1"}\n{"id": "2"}'), (1, b"\n" * 3), (1, bytes(5)))
    skipped = b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + bytes(8)
    expected = [{"id": "1"}, {"id": "2"}, Reason.BAD_RECORD]
    for padding in (b"", bytes(1), skipped, skipped + bytes(7)):
        assert outcome(scan("jsonl", data + padding)) == expected
    for cut in (data[:-1], data + skipped[:-1], skipped + data[:-3]):
        assert outcome(scan("jsonl", cut))[-1] is Reason.SOURCE_UNREADABLE


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_zstd_stream_that_needs_much_memory_is_refused_by_that(kind: str, scan: Scan) -> None:
    (row,) = scan(kind, zstd_frame((0, written(kind, FEW)[f"data.{kind}"]), window_log=30))
    assert isinstance(row, UnreadableRecord)
    assert not row.failure.retryable
    assert row.failure.message == (
        "its zstd stream needs more than 128 MB to be read (zstd --long)"
    )


@pytest.mark.parametrize("padding", [b"", bytes(512)])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_follows_a_stream_and_is_none_is_damage(
    compression: str, padding: bytes, scan: Scan
) -> None:
    """A second stream whose first byte is damaged may not be lost in silence."""
    data = COMPRESSIONS[compression](written("jsonl", ROWS)["data.jsonl"])
    *rows, last = scan("jsonl", data + padding + b"\x01" + data[1:])
    assert isinstance(last, UnreadableRecord)
    assert last.failure.message == f"its {compression} stream is damaged"
    assert len(rows) > len(ROWS) * 0.7


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_cut_stream_is_no_smaller_source(
    kind: str, compression: str, warehouse: Warehouse
) -> None:
    """What is whole is read, no record that has lost its end is, and the file counts as cut."""
    data = COMPRESSIONS[compression](written(kind, ROWS)[f"data.{kind}"])
    files = {f"raw.{kind}": data[: len(data) * 3 // 4]}
    source = open_source(
        warehouse.collection(source={"kind": kind, "uri": f"raw.{kind}"}, files=files)
    )
    scanned = list(source.scan(EVERYTHING))
    *rows, last = rows_of(scanned)
    assert isinstance(last, UnreadableRecord)
    assert (last.failure.reason, last.failure.retryable) == (Reason.SOURCE_UNREADABLE, True)
    assert last.failure.message == f"its {compression} stream is cut: the file ends before it"
    assert [row.values for row in rows if isinstance(row, Record)] == [
        record(*row) for row in ROWS[: len(rows)]
    ]
    assert extents_of(scanned) == [Extent(f"raw.{kind}", End.CUT)]
    assert last.place is not None
    assert last.place.startswith(f"record {len(rows) + 1}, ")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_damaged_stream_says_so(kind: str, scan: Scan) -> None:
    data = bytearray(gzip.compress(written(kind, ROWS)[f"data.{kind}"]))
    data[-8] ^= 0xFF  # of the checksum; elsewhere the stream may seem to be cut instead
    last = scan(kind, bytes(data))[-1]
    assert isinstance(last, UnreadableRecord)
    assert last.failure.message == "its gzip stream is damaged"


@pytest.mark.parametrize("columns", [None, ["id", "text"]])
def test_a_csv_that_is_cut_before_its_header_is_whole(columns: Any, scan: Scan) -> None:
    rows = scan("csv", gzip.compress(b"id,text\n1,a\n")[:15], columns=columns)
    assert outcome(rows) == [Reason.SOURCE_UNREADABLE]


def test_a_record_within_quotes_where_a_stream_is_cut_is_not_read(scan: Scan) -> None:
    """Its lines are text of one field; they are no records of their own."""
    quoted = b'x,"b\n3,c\n' + b"4,d\n" * 100_000
    rows = scan("csv", gzip.compress(written("csv", ROWS)["data.csv"] + quoted)[:-8])
    assert outcome(rows) == [*(record(*row) for row in ROWS), Reason.SOURCE_UNREADABLE]
    assert str(rows[-1].place).startswith(f"record {len(ROWS) + 1}, line {len(ROWS) + 2}, ")


def test_records_of_a_compressed_file_are_loaded_in_any_order(warehouse: Warehouse) -> None:
    """Also by turns, as shards and spot checks ask for them; few streams stay open."""
    files = {"raw.csv": gzip.compress(written("csv", ROWS)["data.csv"])}
    source = open_source(
        warehouse.collection(source={"kind": "csv", "uri": "raw.csv"}, files=files)
    )
    rows = records_of(source.scan(EVERYTHING))
    orders = [rows[:50], rows[100:150], rows[20:30], rows[200:210], rows[::-1][:5], rows[9:40:7]]
    for asked in orders:
        assert list(source.load([row.locator for row in asked])) == asked
    assert 1 <= open_files("raw.csv") <= OPEN_STREAMS


def test_few_of_many_compressed_files_stay_open(warehouse: Warehouse) -> None:
    """A process may have some 256 open, and a source thousands."""
    files = {f"raw/{n:02}.jsonl": gzip.compress(b'{"id": "%d"}\n' % n) for n in range(40)}
    source = open_source(
        warehouse.collection(source={"kind": "jsonl", "uri": "raw/*.jsonl"}, files=files)
    )
    rows = records_of(source.scan(EVERYTHING))
    for asked in (rows, rows[::-1], rows):
        assert list(source.load([row.locator for row in asked])) == asked
        assert 1 <= open_files(".jsonl") <= OPEN_STREAMS
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del source
        gc.collect()
    assert open_files(".jsonl") == 0
    assert not caught, "a stream that nobody has closed"


def open_files(suffix: str) -> int:
    """How many files with such a name this process has open."""
    links = [link.path for link in os.scandir("/proc/self/fd")]
    return sum(os.path.realpath(link).endswith(suffix) for link in links)


def archives() -> dict[str, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("data.csv", "id,text\n1,a\n")
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("data.csv"), io.BytesIO())
    return {
        "a zip archive, as Excel's .xlsx files are, not text": zipped.getvalue(),
        "a tar archive, not text$": tarred.getvalue(),
        "a tar archive, not text, compressed by gzip": gzip.compress(tarred.getvalue()),
        "compressed twice by gzip": gzip.compress(gzip.compress(b"id,text\n1,a\n")),
        "a Parquet file, not text": parquet(pa.table({"id": ["1"], "text": ["a"]})),
        "a file of an old Excel or Word": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99),
        "a web page": b"\r\n<!DOCTYPE html><html>Sign in</html>",
        "text in UTF-32": "id,text\n".encode("utf-32"),
    }


@pytest.mark.parametrize(("name", "data"), archives().items(), ids=archives().keys())
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_is_no_text_is_refused_by_its_name(
    kind: str, name: str, data: bytes, scan: Scan
) -> None:
    with pytest.raises(SourceNotFound) as error:
        scan(kind, data)
    assert f"is {name.rstrip('$')}" in str(error.value)
    assert ('kind = "parquet"' in str(error.value)) == ("Parquet" in name)


@pytest.mark.parametrize("text", ["BZh9 is a word", "PAR1,text", "(\u00b5/ok", "7z"])
def test_text_that_begins_like_another_format_is_text(text: str, scan: Scan) -> None:
    rows = scan("csv", f"{text},text\n1,a\n".encode() if "," not in text else b"PAR1,text\n1,a\n")
    assert len(rows) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "the same"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_utf16_is_read_with_and_without_its_mark(
    kind: str, declared: str, mark: str, encoding: str, scan: Scan
) -> None:
    """Also characters one half of which is the byte of a line break, and pairs of surrogates."""
    rows = [("1", "a\u0a0a\u0a00\u000b"), ("2", "\u010a 🐋"), ("3", "Ḋ\u0d0a\nü")]
    text = written(kind, rows)[f"data.{kind}"].decode()
    if kind == "jsonl":
        text = (
            text.encode()
            .decode("unicode_escape")
            .encode("utf-16", "surrogatepass")
            .decode("utf-16")
            .replace("\u000b", " ")
            .replace("\nü", "ü")
        )
        rows = [(item, value.replace("\u000b", " ").replace("\n", "")) for item, value in rows]
    name = encoding if declared == "the same" else declared
    raw = text.encode(encoding) if encoding == "utf-16" else (mark + text).encode(encoding)
    found = scan(kind, raw, encoding=name)
    assert outcome(found) == [record(*row) for row in rows]


def test_utf16_has_places_in_bytes_of_the_file(scan: Scan) -> None:
    text = '\ufeffid,text\r\n1,"a\n\u010a"\r\n2\r\n3,c\r\n'
    bad = scan("csv", text.encode("utf-16-le"))[1]
    assert bad.place == f"record 2, line 4, byte {2 * text.index('2')}"


def test_half_a_character_of_utf16_is_a_reject(scan: Scan) -> None:
    rows = scan("jsonl", '{"id": "1"}\n{"id": "2"}'.encode("utf-16")[:-1])
    assert isinstance(rows[1], UnreadableRecord)
    assert rows[1].failure.message == "is not valid utf-16-le"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_mark_decides_the_encoding(kind: str, scan: Scan) -> None:
    """A mark of UTF-8 in a file that is said to be of an old code page is not read as that."""
    data = b"\xef\xbb\xbf" + written(kind, [("1", "naïve €")])[f"data.{kind}"]
    assert outcome(scan(kind, data, encoding="cp1252")) == [record("1", "naïve €")]


def test_a_json_array_is_refused_as_what_it_is(scan: Scan) -> None:
    for data in (b'[{"id": "1"}, {"id": "2"}]', b'[\n {"id": "1"},\n {"id": "2"}\n]\n'):
        with pytest.raises(SourceNotFound, match="is one JSON array, not JSON Lines"):
            scan("jsonl", data)
