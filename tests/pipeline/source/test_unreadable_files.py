"""A file that cannot be read is a reject beside others, and an error where there are none."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.extents import End, Extent
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from tests.pipeline.source.source_records import outcome, record, records_of
from tests.pipeline.source.test_parquet import parquet
from tests.support.warehouse import Warehouse

TEXTS = [f"text {n}" for n in range(2000)]
TABLE = pa.table({"id": [str(n) for n in range(2000)], "text": TEXTS})
PLAIN: dict[str, Any] = {"compression": "none", "use_dictionary": False}
WHOLE = parquet(TABLE, row_group_size=500, write_page_checksum=True, **PLAIN)
ONE = {"parquet": parquet(TABLE.slice(0, 1)), "csv": b"id,text\n0,text 0\n",
       "jsonl": b'{"id": "0", "text": "text 0"}\n'}  # fmt: skip


class _Keys(pe.KmsClient):  # type: ignore[misc]
    """Keys that are wrapped by nothing."""

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, wrapped: str, _: str) -> bytes:
        return base64.b64decode(wrapped)


def encrypted(column: str, *, plaintext_footer: bool) -> bytes:
    config = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": [column]}, plaintext_footer=plaintext_footer
    )
    factory = pe.CryptoFactory(lambda _: _Keys())
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
    out, table = pa.BufferOutputStream(), pa.table({"id": ["1"], "text": ["a"], "other": [1]})
    with pq.ParquetWriter(out, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    return bytes(out.getvalue().to_pybytes())


def damaged_at(text: str) -> bytes:
    at = WHOLE.index(text.encode())
    return WHOLE[:at] + b"X" + WHOLE[at + 1 :]


FOOTER = len(WHOLE) - 8 - int.from_bytes(WHOLE[-8:-4], "little")
NOT_PARQUET = [
    ("is no Parquet file but text", b"id,text\n1,a\n" * 9),
    ("is no Parquet file but a file compressed by gzip", gzip.compress(b"id,text\n1,a\n")),
    ("is no Parquet file but an image", b"\x89PNG\r\n\x1a\n" + bytes(99)),
    ("is no Parquet file but a web page", b"<!DOCTYPE html><html>Sign in</html>"),
    ("is no Parquet file but XML", b"<?xml version='1.0'?><Error>AccessDenied</Error>"),
    ("is no Parquet file but a pointer of Git LFS, whose file was not fetched",
     b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    ("is no Parquet file but bytes of no known format", bytes(1000)),
    ("is encrypted: it can only be read with its key", encrypted("text", plaintext_footer=False)),
    ("has an encrypted column, 'text', which needs a key",
     encrypted("text", plaintext_footer=True)),
    ("has more than one column 'text'",
     parquet(pa.Table.from_arrays([pa.array(["1"])] * 3, ["id", "text", "text"]))),
    ("ends before its footer", WHOLE[: len(WHOLE) // 2]),
    ("ends before its footer", b"P"),
    ("ends before its footer", b"PAR1"),
    ("has a damaged footer: ", WHOLE[:FOOTER] + bytes(len(WHOLE) - FOOTER - 8) + WHOLE[-8:]),
    ("has a damaged footer: ", b"PAR1PAR1"),
]  # fmt: skip


def source_of(warehouse: Warehouse, kind: str, files: Mapping[str, bytes]) -> Source:
    raw = {f"raw/{name}.{kind}": data for name, data in files.items()}
    source = {"kind": kind, "uri": f"raw/*.{kind}"}
    return open_source(warehouse.collection(source=source, files=raw))


def scan(source: Source) -> tuple[list[Record | UnreadableRecord], list[End]]:
    """The records, of which the good ones are loaded again, and how each file ended."""
    found = list(source.scan(EVERYTHING))
    rows = [row for row in found if isinstance(row, Record | UnreadableRecord)]
    good = records_of(iter(found))
    assert list(source.load([row.locator for row in good])) == good
    return rows, [extent.end for extent in found if isinstance(extent, Extent)]


@pytest.mark.parametrize(("what", "data"), NOT_PARQUET, ids=[what for what, _ in NOT_PARQUET])
def test_a_file_that_is_no_parquet(what: str, data: bytes, warehouse: Warehouse) -> None:
    rows, ends = scan(source_of(warehouse, "parquet", {"a": data, "b": ONE["parquet"]}))
    bad, good = rows
    assert isinstance(bad, UnreadableRecord)
    assert (bad.origin, bad.place, bad.id) == ("a.parquet", None, None)
    assert (bad.failure.reason, bad.failure.retryable) == (Reason.SOURCE_UNREADABLE, True)
    assert bad.failure.message.startswith(f"the file {what}")
    assert outcome([good]) == [record("0", "text 0")]
    assert ends == [End.CUT if "before" in what else End.UNREADABLE, End.WHOLE]
    none = source_of(warehouse, "parquet", {"a": data, "b": b""})
    with pytest.raises(SourceNotFound, match="none of the 2 files can be read") as error:
        list(none.scan(EVERYTHING))
    assert what in error.value.what


def test_what_nobody_reads_of_a_file_may_be_encrypted(warehouse: Warehouse) -> None:
    data = encrypted("other", plaintext_footer=True)
    rows, ends = scan(source_of(warehouse, "parquet", {"a": data}))
    assert (outcome(rows), ends) == ([record("1", "a")], [End.WHOLE])


def test_a_parquet_file_without_a_byte_is_no_source(warehouse: Warehouse) -> None:
    with pytest.raises(SourceNotFound, match="has no byte"):
        list(source_of(warehouse, "parquet", {"a": b""}).scan(EVERYTHING))
    rows, ends = scan(source_of(warehouse, "parquet", {"a": b"", "b": ONE["parquet"]}))
    assert (outcome(rows), ends) == ([record("0", "text 0")], [End.EMPTY, End.WHOLE])


def test_a_damaged_row_group_is_a_reject_and_the_next_is_read(warehouse: Warehouse) -> None:
    rows, ends = scan(source_of(warehouse, "parquet", {"a": damaged_at("text 700")}))
    bad = rows[500]
    assert isinstance(bad, UnreadableRecord)
    assert bad.place == "row group 1, row 0, record 501"
    assert bad.failure.retryable
    assert bad.failure.message.startswith(
        "not read: this row and the 499 behind it: the row group is damaged: "
    )
    assert outcome(rows[501:]) == [record(str(n), TEXTS[n]) for n in range(1000, 2000)]
    assert ends == [End.UNREADABLE]


def test_what_is_before_the_damage_is_read(warehouse: Warehouse) -> None:
    pages = {"data_page_size": 100, "write_batch_size": 50, "write_statistics": False}
    data = parquet(TABLE.slice(0, 600), write_page_checksum=True, **pages, **PLAIN)
    at = data.index(b"text 300")
    rows, ends = scan(source_of(warehouse, "parquet", {"a": data[:at] + b"X" + data[at + 1 :]}))
    assert outcome(rows[:-1]) == [record(str(n), TEXTS[n]) for n in range(256)]
    assert (rows[-1].place, ends) == ("row group 0, row 256, record 257", [End.UNREADABLE])


def test_a_file_of_which_no_row_group_can_be_read_is_no_source(warehouse: Warehouse) -> None:
    data = parquet(TABLE, write_page_checksum=True, **PLAIN)
    at = data.index(b"text 1")
    data = data[:at] + b"X" + data[at + 1 :]
    with pytest.raises(SourceNotFound, match="the row group is damaged"):
        list(source_of(warehouse, "parquet", {"a": data}).scan(EVERYTHING))
    rows, ends = scan(source_of(warehouse, "parquet", {"a": data, "b": ONE["parquet"]}))
    assert outcome(rows) == [Reason.SOURCE_UNREADABLE, record("0", "text 0")]
    assert ends == [End.UNREADABLE, End.WHOLE]


@settings(max_examples=40)
@given(
    changes=st.lists(
        st.tuples(st.integers(FOOTER - 2000, len(WHOLE) - 1), st.integers(0, 255)), max_size=3
    )
)
def test_no_damage_raises_or_goes_unnoticed(
    changes: list[tuple[int, int]], warehouse: Warehouse
) -> None:
    """A row is read, or is within a reject; pyarrow ends a process over some damaged footers."""
    data = bytearray(WHOLE)
    for at, byte in changes:
        data[at] = byte
    source = source_of(warehouse, "parquet", {"a": bytes(data), "b": ONE["parquet"]})
    found = [row for row in source.scan(EVERYTHING) if row != Extent("b.parquet")]
    ends = [row.end for row in found if isinstance(row, Extent)]
    good = records_of(iter(found))
    assert len(good) == 2001 or ends != [End.WHOLE]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (parquet(TABLE.slice(0, 1)), "is a Parquet file, not text"),
        (b"\xff\xd8\xff\xe0 JFIF", "is an image, not text"),
        (b"<?xml version='1.0'?><Error/>", "is XML, not text"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_of_text_files_too(kind: str, data: bytes, what: str, warehouse: Warehouse) -> None:
    rows, ends = scan(source_of(warehouse, kind, {"a": ONE[kind], "b": data}))
    assert outcome(rows) == [record("0", "text 0"), Reason.SOURCE_UNREADABLE]
    assert isinstance(rows[1], UnreadableRecord)
    assert (rows[1].failure.message, rows[1].origin) == (f"the file {what}", f"b.{kind}")
    assert ends == [End.WHOLE, End.UNREADABLE]


def test_a_header_that_cannot_be_used_stops_its_own_file(warehouse: Warehouse) -> None:
    rows, ends = scan(source_of(warehouse, "csv", {"a": b"id;text\n1;a\n", "b": ONE["csv"]}))
    assert outcome(rows) == [Reason.SOURCE_UNREADABLE, record("0", "text 0")]
    assert ends == [End.UNREADABLE, End.WHOLE]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_folder_among_files(kind: str, warehouse: Warehouse) -> None:
    (warehouse.folder / f"raw/a.{kind}").mkdir(parents=True)
    rows, ends = scan(source_of(warehouse, kind, {"b": ONE[kind]}))
    assert outcome(rows) == [Reason.SOURCE_UNREADABLE, record("0", "text 0")]
    assert ends == [End.UNREADABLE, End.WHOLE]
