"""What every source promises, and what each kind survives."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import EVERYTHING, Record, Scope, UnreadableRecord
from tests.support.checkout import REPOSITORY
from tests.support.warehouse import Warehouse

KINDS = ["folder", "csv", "jsonl", "parquet"]
Item = tuple[str, str]
ROWS = [(f"{n:03}", f"text {n}, with a comma") for n in range(40)]
ROWS[7] = ("007", 'two\nlines and “quotes” "inside"')


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


def of_kind(kind: str, folder: str) -> dict[str, Any]:
    uri = folder if kind == "folder" else f"{folder}/*.{kind}"
    return {"kind": kind, "uri": uri, "id": "stem" if kind == "folder" else "id"}


@dataclass
class Case:
    """One logical source in two partitions, and how to write it again."""

    kind: str
    collection: Collection
    folder: Path

    @property
    def source(self) -> Source:
        return open_source(self.collection)

    def item(self, row: Record | UnreadableRecord) -> Item:
        """The id and text of a row; a folder's id holds its partition's folder."""
        assert isinstance(row, Record), row
        text = row.values["text"]
        if isinstance(text, Path):
            return str(row.values["id"]).rpartition("/")[2], text.read_text(encoding="utf-8")
        return row.values["id"], text


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, warehouse: Warehouse, tmp_path: Path) -> Case:
    kind = request.param
    files = {f"raw/day=1/{name}": data for name, data in written(kind, ROWS[:25]).items()}
    files |= {f"raw/day=2/{name}": data for name, data in written(kind, ROWS[25:]).items()}
    collection = warehouse.collection(source=of_kind(kind, "raw/day={partition}"), files=files)
    return Case(kind, collection, tmp_path)


def test_scan_gives_every_item_once_in_a_stable_order(case: Case) -> None:
    first = list(case.source.scan(EVERYTHING))
    assert [case.item(row) for row in first] == ROWS
    assert list(case.source.scan(EVERYTHING)) == first


def test_locators_are_distinct_text(case: Case) -> None:
    locators = [row.locator for row in case.source.scan(EVERYTHING)]
    assert len(set(locators)) == len(ROWS)
    assert pa.array(locators, pa.string()).to_pylist() == locators


@settings(max_examples=25)
@given(data=st.data())
def test_load_gives_what_was_scanned_in_the_order_asked(case: Case, data: st.DataObject) -> None:
    scanned = list(case.source.scan(EVERYTHING))
    asked = data.draw(st.lists(st.sampled_from(scanned), max_size=60))
    loaded = list(case.source.load([row.locator for row in asked]))
    assert [row.locator for row in loaded] == [row.locator for row in asked]
    assert [row.values for row in loaded if isinstance(row, Record)] == [
        row.values for row in asked if isinstance(row, Record)
    ]
    assert [row.origin for row in loaded] == [row.origin for row in asked]


def test_a_partition_is_the_full_scan_filtered(case: Case) -> None:
    whole = list(case.source.scan(EVERYTHING))
    assert [row.partition for row in whole] == ["1"] * 25 + ["2"] * 15
    for partition in ("1", "2"):
        alone = list(case.source.scan(Scope(partition)))
        assert alone == [row for row in whole if row.partition == partition]


@pytest.mark.parametrize("partition", ["3", "*", "?", "[12]", "1*"])
def test_a_partition_that_is_not_there_is_not_found(case: Case, partition: str) -> None:
    with pytest.raises(SourceNotFound, match="no file or folder for partition"):
        next(case.source.scan(Scope(partition)))


@pytest.mark.parametrize("partition", ["", ".", "..", "1/../2", "../day=1", "a\0b"])
def test_a_partition_cannot_reach_elsewhere(case: Case, partition: str) -> None:
    with pytest.raises(UserMistake):
        list(case.source.scan(Scope(partition)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_without_partitions_has_none(kind: str, warehouse: Warehouse) -> None:
    files = {f"raw/{name}": data for name, data in written(kind, ROWS).items()}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    assert {row.partition for row in source.scan(EVERYTHING)} == {None}
    with pytest.raises(UserMistake, match="has no partitions") as error:
        next(source.scan(Scope("1")))
    assert not isinstance(error.value, SourceNotFound)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_source_is_told_before_the_first_record(kind: str, warehouse: Warehouse) -> None:
    source = open_source(warehouse.collection(source=of_kind(kind, "nowhere")))
    with pytest.raises(SourceNotFound, match="no file or folder"):
        next(source.scan(EVERYTHING))


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_with_wildcards_in_its_name_is_no_glob(kind: str, tmp_path: Path) -> None:
    odd = tmp_path / "a [b] * {partition} é"
    warehouse = Warehouse.within(odd)
    files = {f"raw/1/{name}": data for name, data in written(kind, ROWS).items()}
    collection = warehouse.collection(source=of_kind(kind, "raw/*"), files=files)
    source = open_source(collection)
    rows = list(source.scan(EVERYTHING))
    assert len(rows) == len(ROWS)
    assert all(str(odd) not in row.origin for row in rows)
    assert [row.locator for row in source.load([r.locator for r in rows])] == [
        row.locator for row in rows
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_that_is_gone_is_a_value_and_the_others_load(
    kind: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    files = {f"raw/a/{name}": data for name, data in written(kind, ROWS[:3]).items()}
    files |= {f"raw/b/{name}": data for name, data in written(kind, ROWS[3:6]).items()}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw/*"), files=files))
    rows = list(source.scan(EVERYTHING))
    for path in (tmp_path / "raw/a").iterdir():
        path.unlink()
    loaded = list(source.load([row.locator for row in rows]))
    assert len(loaded) == 6
    if kind != "folder":  # a folder's rows are paths: reading them is content's business
        assert [isinstance(row, UnreadableRecord) for row in loaded] == [True] * 3 + [False] * 3
        assert all(row.failure.retryable for row in loaded if isinstance(row, UnreadableRecord))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_source_that_became_shorter_answers_for_every_locator(
    kind: str, warehouse: Warehouse
) -> None:
    def make(rows: Sequence[Item]) -> Source:
        files = {f"raw/{name}": data for name, data in written(kind, rows).items()}
        return open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))

    locators = [row.locator for row in make(ROWS).scan(EVERYTHING)]
    loaded = list(make(ROWS[:5]).load(locators))
    assert [row.locator for row in loaded] == locators
    assert all(isinstance(row, UnreadableRecord) for row in loaded[5:])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_first_record_does_not_wait_for_the_last(kind: str, warehouse: Warehouse) -> None:
    """50 MB: the first record comes at once, and a whole scan holds little of them."""
    text = "x" * 1000
    rows = [(str(n), f"{n} {text}") for n in range(50_000)]
    if kind == "parquet":
        rng = random.Random(0)
        rows = [(item, rng.randbytes(500).hex()) for item, _ in rows]  # does not compress away
    files = {f"raw/{name}": data for name, data in written(kind, rows).items()}
    if kind == "parquet":
        table = pa.table({"id": [i for i, _ in rows], "text": [t for _, t in rows]})
        out = pa.BufferOutputStream()
        pq.write_table(table, out, row_group_size=len(rows), use_dictionary=False)
        files = {"raw/data.parquet": out.getvalue().to_pybytes()}
        del table, out
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    del files, rows
    arrow_before = pa.total_allocated_bytes()
    tracemalloc.start()
    started = time.perf_counter()
    scan = source.scan(EVERYTHING)
    first = next(scan)
    waited = time.perf_counter() - started
    for _ in range(2000):
        last = next(scan)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert last.values["id"] == "2000"
    assert waited < 1
    assert peak < 5e6
    assert pa.total_allocated_bytes() - arrow_before < 10e6


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_records_offers_none(kind: str, warehouse: Warehouse) -> None:
    files = {f"raw/{name}": data for name, data in written(kind, []).items()} or {"raw/x.log": b""}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    assert list(source.scan(EVERYTHING)) == []


@pytest.mark.parametrize(
    ("uri", "names", "partitions"),
    [
        ("raw/{partition}.jsonl", ["a.jsonl", "b.jsonl"], {"a.jsonl": "a", "b.jsonl": "b"}),
        (
            "raw/{partition}/x-{partition}.jsonl",
            ["a/x-a.jsonl", "a/x-b.jsonl"],
            {"a/x-a.jsonl": "a"},
        ),
        (
            "raw/**/d={partition}/*.jsonl",
            ["p/q/d=1/a.jsonl", "d=2/b.jsonl"],
            {"p/q/d=1/a.jsonl": "1", "d=2/b.jsonl": "2"},
        ),
        (
            "raw/[!b]-{partition}.jsonl",
            ["a-1.jsonl", "b-2.jsonl", "^-3.jsonl"],
            {"a-1.jsonl": "1", "^-3.jsonl": "3"},
        ),
        (
            "raw/{partition}-*.jsonl",
            ["a-1.jsonl", "a-b-2.jsonl"],
            {"a-1.jsonl": "a", "a-b-2.jsonl": "a-b"},
        ),
        ("raw/?{partition}[[].jsonl", ["xa[.jsonl", "yb.jsonl"], {"xa[.jsonl": "a"}),
        ("raw/{partition}/é.jsonl", ["2024-01-01/é.jsonl"], {"2024-01-01/é.jsonl": "2024-01-01"}),
    ],
)
def test_the_uri_names_each_files_partition(
    uri: str, names: list[str], partitions: Mapping[str, str], warehouse: Warehouse
) -> None:
    files = {f"raw/{name}": json.dumps({"id": name, "text": "t"}).encode() for name in names}
    source = open_source(warehouse.collection(source={"uri": uri}, files=files))
    found = {row.values["id"]: row.partition for row in good(source.scan(EVERYTHING))}
    assert found == partitions
    for partition in set(partitions.values()):
        alone = {row.values["id"] for row in good(source.scan(Scope(partition)))}
        assert alone == {name for name, value in partitions.items() if value == partition}


def good(rows: Iterator[Record | UnreadableRecord]) -> list[Record]:
    return [row for row in rows if isinstance(row, Record)]


@pytest.fixture
def scan(warehouse: Warehouse) -> Callable[..., list[Record | UnreadableRecord]]:
    """Scans one file of some bytes; what load gives for each good row is the same."""

    def run(kind: str, data: bytes, **source: Any) -> list[Record | UnreadableRecord]:
        opened = open_source(
            warehouse.collection(
                source={"kind": kind, "uri": f"raw.{kind}", **source}, files={f"raw.{kind}": data}
            )
        )
        rows = list(opened.scan(EVERYTHING))
        loaded = opened.load([row.locator for row in rows if isinstance(row, Record)])
        assert list(loaded) == [row for row in rows if isinstance(row, Record)]
        return rows

    return run


Scan = Callable[..., list[Record | UnreadableRecord]]


def outcome(rows: list[Record | UnreadableRecord]) -> list[Any]:
    """The values of good rows, and the reason of bad ones."""
    return [row.values if isinstance(row, Record) else row.failure.reason for row in rows]


def one(item: str, text: Any) -> dict[str, Any]:
    return {"id": item, "text": text}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfid,text\n1,a\n", [one("1", "a")]),
        (b"\xef\xbb\xbfid,text\r\n1,a\r\n2,b\r\n", [one("1", "a"), one("2", "b")]),
        (b'id,text\n1,"a\nb\r\nc"\n2,d', [one("1", "a\nb\r\nc"), one("2", "d")]),
        (b'id,text\n1,"say ""hi"""\n', [one("1", 'say "hi"')]),
        (b"id,text\n001,a\n1e3,b\n-0,c\n", [one("001", "a"), one("1e3", "b"), one("-0", "c")]),
        (b"id,text\n1,NULL\n2,\n3,nan\n", [one("1", "NULL"), one("2", ""), one("3", "nan")]),
        (b"id,text\n\n1,a\n\n\n2,b\n", [one("1", "a"), one("2", "b")]),
        (b"id,text\n1,a,b\n2\n3,c\n", [Reason.BAD_RECORD, Reason.BAD_RECORD, one("3", "c")]),
        (b"id,text\n1,\xff\n2,b\n", [Reason.BAD_RECORD, one("2", "b")]),
        (b'id,text\n1,"a\n\xff"\n2,b\n', [Reason.BAD_RECORD, one("2", "b")]),
        (b"id,text\n1,a\0b\n2,b\n", [one("1", "a\0b"), one("2", "b")]),
        (b'id,text\n1,a"b\n2,b\n', [one("1", 'a"b'), one("2", "b")]),
        (b"id,text\n 1 , a \n", [one(" 1 ", " a ")]),
        ("id,text\n1,\u2028\x85\x0b\x0c\n2,b\n".encode(), [one("1", "\u2028\x85\x0b\x0c"),
                                                           one("2", "b")]),
        (b"id,text\n1,a\rb\n2,c\n", [Reason.BAD_RECORD, one("2", "c")]),
        # A quote that nobody closes costs its own record.
        (b'id,text\n1,"a\n2,b\n3,c\n', [Reason.BAD_RECORD, one("2", "b"), one("3", "c")]),
        (b'id,text\n1,"a\n2,"b"\n3,c\n', [Reason.BAD_RECORD, one("2", "b"), one("3", "c")]),
        (b'id,text\n1,"a" b\n2,b\n', [Reason.BAD_RECORD, one("2", "b")]),
        (b'id,text\n1,"a\n', [Reason.BAD_RECORD]),
    ],
)  # fmt: skip
def test_csv(data: bytes, expected: list[Any], scan: Scan) -> None:
    assert outcome(scan("csv", data)) == expected


def test_csv_names_columns_and_separates_as_told(scan: Scan) -> None:
    data = "\ufeff1;a,b\n2;c\n".encode()
    rows = scan("csv", data, columns=["id", "text"], delimiter=";")
    assert outcome(rows) == [one("1", "a,b"), one("2", "c")]


@pytest.mark.parametrize("encoding", ["latin-1", "ISO-8859-1", "cp1252", "iso-8859-15"])
def test_csv_in_the_encodings_of_old_tools(encoding: str, scan: Scan) -> None:
    data = "id,text\n1,Käse €uro\n2,ñandú\n".replace("€", "e").encode(encoding)
    assert outcome(scan("csv", data, encoding=encoding))[1] == one("2", "ñandú")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-7", "shift-jis", "klingon", ""])
def test_encodings_that_would_lose_a_records_place_are_refused(encoding: str, scan: Scan) -> None:
    with pytest.raises(UserMistake, match="encoding"):
        scan("csv", b"id,text\n1,a\n", encoding=encoding)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xef\xbb\xbf",
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


def test_csv_texts_beyond_the_limit_of_python(scan: Scan) -> None:
    text = "x" * 1_000_000
    assert outcome(scan("csv", f"id,text\n1,{text}\n2,b\n".encode())) == [
        one("1", text), one("2", "b"),
    ]  # fmt: skip


@settings(max_examples=150)
@given(rows=st.lists(st.tuples(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1),
    st.text(st.characters(codec="utf-8")),
), max_size=8))  # fmt: skip
def test_whatever_a_csv_writer_writes_is_read(rows: list[Item], scan: Scan) -> None:
    assert outcome(scan("csv", written("csv", rows)["data.csv"])) == [one(*row) for row in rows]


@settings(max_examples=150)
@given(body=st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "a", "é", "\0", '""']), max_size=40))
def test_no_line_of_a_broken_csv_vanishes(body: list[str], scan: Scan) -> None:
    """Good last lines come through whatever stands before them."""
    data = ("id,text\n" + "".join(body) + "\nx,1\ny,2\n").encode()
    rows = scan("csv", data)
    if '"' not in "".join(body):
        assert outcome(rows)[-2:] == [one("x", "1"), one("y", "2")]
    covered = [row.locator.split(":", 2)[:2] for row in rows]
    ends = [int(start) + int(length) for start, length in covered]
    starts = [int(start) for start, _ in covered]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    between = [data[a:b] for a, b in zip([8, *ends], [*starts, len(data)], strict=True)]
    assert all(not gap.strip(b"\r\n") for gap in between)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'\xef\xbb\xbf{"id": "1", "text": "a"}\n', [one("1", "a")]),
        (b'{"id": "1", "text": "a"}\r\n{"id": "2", "text": "b"}', [one("1", "a"), one("2", "b")]),
        (b'\n \n{"id": "1", "text": "a"}\n\t\n', [one("1", "a")]),
        (
            b'{"id": "1", "text": "a"}\n{"id": \n{"id": "3", "text": "c"}\n',
            [one("1", "a"), Reason.BAD_RECORD, one("3", "c")],
        ),
        (b'[1]\nnull\n7\n"x"\ntrue\n{}\n', [Reason.BAD_RECORD] * 5 + [{}]),
        (b'{"id": 7, "text": null}\n{"id": "7", "text": 7}\n', [one(7, None), one("7", 7)]),
        (b'{"id": "1", "text": "\xff"}\n{"id": "2", "text": "b"}\n', [Reason.BAD_RECORD,
                                                                     one("2", "b")]),
        (b'{"id": "1", "text": "\\ud800"}\n', [one("1", "\ud800")]),
        (b'{"id": "1", "text": "a"} {"id": "2", "text": "b"}\n', [Reason.BAD_RECORD]),
        ('{"id": "1", "text": "a\u2028b\x85"}\n'.encode(), [one("1", "a\u2028b\x85")]),
        (b'{"id": 1' + b"0" * 5000 + b"}\n" + b'{"id": "2", "text": "b"}', [Reason.BAD_RECORD,
                                                                          one("2", "b")]),
        (b"{" + b'"a":{' * 100_000 + b"\n" + b'{"id": "2", "text": "b"}\n', [Reason.BAD_RECORD,
                                                                           one("2", "b")]),
        (b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", [Reason.BAD_RECORD]),
    ],
)  # fmt: skip
def test_jsonl(data: bytes, expected: list[Any], scan: Scan) -> None:
    assert outcome(scan("jsonl", data)) == expected


def test_a_bad_line_says_where_and_why(scan: Scan) -> None:
    bad = scan("jsonl", b'{"id": "1"}\n[1]\n')[1]
    assert isinstance(bad, UnreadableRecord)
    assert bad.origin == "raw.jsonl"
    assert bad.failure.message == "is no JSON object but list"


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(table, out, **options)
    return bytes(out.getvalue().to_pybytes())


def test_parquet_reads_only_what_is_named(warehouse: Warehouse) -> None:
    table = pa.table({"id": [1, 2], "text": ["a", "b"], "image": [b"\x89PNG", None], "z": [0, 0]})
    spaces = [{"name": "i", "encoder": "hashed/64", "image": "image"}]
    source = open_source(
        warehouse.collection(
            source={"kind": "parquet", "uri": "x.parquet"}, spaces=spaces,
            files={"x.parquet": parquet(table, row_group_size=1)},
        )
    )  # fmt: skip
    rows = good(source.scan(EVERYTHING))
    assert [row.values for row in rows] == [
        {"id": 1, "image": b"\x89PNG"}, {"id": 2, "image": None},
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("group", [1, 100, 256, 1000])
def test_parquet_row_groups_of_any_size(rows: int, group: int, scan: Scan) -> None:
    table = pa.table({"id": pa.array(range(rows)), "text": pa.array(map(str, range(rows)))})
    found = outcome(scan("parquet", parquet(table, row_group_size=group)))
    assert found == [one(n, str(n)) for n in range(rows)]  # type: ignore[arg-type]


def test_a_missing_parquet_column_names_the_nearest(scan: Scan) -> None:
    with pytest.raises(UserMistake, match=r"no column 'text' \(did you mean 'texts'\?\)") as error:
        scan("parquet", parquet(pa.table({"id": ["1"], "texts": ["a"]})))
    assert not isinstance(error.value, SourceNotFound)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"id,text\n1,a\n" * 9, bytes(1000)])
def test_a_file_that_is_no_parquet(data: bytes, scan: Scan) -> None:
    with pytest.raises(SourceNotFound, match="not a readable Parquet file"):
        scan("parquet", data)


def test_damaged_parquet_pages_are_told(scan: Scan) -> None:
    texts = [f"text {n}" for n in range(2000)]
    table = pa.table({"id": texts, "text": texts})
    data = parquet(table, write_page_checksum=True, compression="none", use_dictionary=False)
    at = data.index(b"text 1500")
    with pytest.raises(SourceNotFound, match="not a readable Parquet file"):
        scan("parquet", data[:at] + b"X" + data[at + 1 :])


def test_parquet_values_that_python_cannot_hold_are_rejects_of_their_own(scan: Scan) -> None:
    binary = pa.array([b"a", b"\xff", b"c"])
    text = pa.StringArray.from_buffers(3, binary.buffers()[1], binary.buffers()[2])
    rows = scan("parquet", parquet(pa.table({"id": ["1", "2", "3"], "text": text})))
    assert outcome(rows) == [one("1", "a"), Reason.BAD_RECORD, one("3", "c")]
    assert isinstance(rows[1], UnreadableRecord)


def test_parquet_dates_out_of_pythons_range(scan: Scan) -> None:
    days = pa.array([0, 10_000_000], pa.int32()).cast(pa.date32())
    rows = scan("parquet", parquet(pa.table({"id": ["1", "2"], "text": days})))
    assert [isinstance(row, UnreadableRecord) for row in rows] == [False, True]


Put = Callable[..., tuple[Source, list[Record | UnreadableRecord]]]


@pytest.fixture
def folder(warehouse: Warehouse, tmp_path: Path) -> Put:
    def run(*names: str, **source: Any) -> tuple[Source, list[Record | UnreadableRecord]]:
        files = {f"raw/{name}": name.encode() for name in names}
        (tmp_path / "raw").mkdir(exist_ok=True)
        opened = open_source(
            warehouse.collection(
                source={"kind": "folder", "uri": "raw", "id": "stem", **source}, files=files
            )
        )
        return opened, list(opened.scan(EVERYTHING))

    return run


def kinds(rows: list[Record | UnreadableRecord]) -> dict[str, str]:
    """`id` -> which contents it has."""
    return {
        row.values["id"]: "+".join(k for k in ("text", "image") if row.values[k])
        for row in rows
        if isinstance(row, Record)
    }


def test_a_folder_pairs_a_text_and_an_image_of_one_stem(folder: Put) -> None:
    _, rows = folder("a.txt", "a.jpg", "b/a.txt", "c.PNG", "d.log", "e")
    assert kinds(rows) == {"a": "text+image", "b/a": "text", "c": "image"}
    assert rows[0].origin == "a.jpg + a.txt"


def test_two_images_of_one_stem_are_an_item_and_a_reject(folder: Put) -> None:
    _, rows = folder("a.txt", "a.jpg", "a.jpeg", "a.png")
    assert kinds(rows) == {"a": "text+image"}
    bad = [row for row in rows if isinstance(row, UnreadableRecord)]
    assert [row.failure.reason for row in bad] == [Reason.DUPLICATE_ID] * 2
    assert [row.id for row in bad] == ["a", "a"]
    assert '`id = "path"` keeps both' in bad[0].failure.message


def test_a_folder_by_path_keeps_every_file(folder: Put) -> None:
    source, rows = folder("a.txt", "a.jpg", "a.png", id="path")
    assert kinds(rows) == {"a.jpg": "image", "a.png": "image", "a.txt": "text"}
    assert list(source.load([row.locator for row in reversed(rows)])) == rows[::-1]


def test_hidden_files_and_folders_are_left_out(folder: Put) -> None:
    _, rows = folder("a.txt", ".b.txt", ".git/c.txt", "d/.e.txt", "d/f.txt", ".txt", "d/.DS_Store")
    assert kinds(rows) == {"a": "text", "d/f": "text"}


@pytest.mark.parametrize(
    ("texts", "images", "expected"),
    [
        (["*"], [".jpg"], {"a": "text", "b": "image", "c.tar": "text", "d": "text"}),
        ([".txt"], ["*"], {"a": "text", "b": "image", "c.tar": "image", "d": "image"}),
        (["*"], [], {"a": "text", "b": "text", "c.tar": "text", "d": "text"}),
        ([], [], {}),
    ],
)
def test_a_star_takes_what_the_other_list_leaves(
    texts: list[str], images: list[str], expected: dict[str, str], folder: Put
) -> None:
    _, rows = folder("a.txt", "b.jpg", "c.tar.gz", "d", text_suffixes=texts, image_suffixes=images)
    assert kinds(rows) == expected


def test_folders_that_one_uri_names_do_not_collide(folder: Put) -> None:
    source, rows = folder("1/a.txt", "2/a.txt", uri="raw/{partition}")
    assert kinds(rows) == {"1/a": "text", "2/a": "text"}
    assert [row.origin for row in rows] == ["1/a.txt", "2/a.txt"]
    loaded = good(source.load([row.locator for row in rows]))
    assert [row.values["text"].read_text() for row in loaded] == ["1/a.txt", "2/a.txt"]


def test_file_names_of_every_byte(folder: Put, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path / "raw")
    (tmp_path / "raw").mkdir()
    for name in (
        b"\xff\xfe.txt",
        b"new\nline.txt",
        "é 日本 🐳.txt".encode(),
        b"a:b:3:c.txt",
        b" .txt",
    ):
        with open(os.path.join(raw, name), "wb") as file:  # noqa: PTH118, PTH123
            file.write(name)
    source, rows = folder()
    assert len(kinds(rows)) == 5
    loaded = good(source.load([row.locator for row in rows]))
    assert [row.values["text"].read_bytes() for row in loaded] == [
        row.values["text"].read_bytes() for row in good(iter(rows))
    ]


def test_links_to_files_are_items_and_links_to_folders_are_not(folder: Put, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "b.txt").symlink_to(tmp_path / "raw" / "a.txt")
    _, rows = folder("a.txt")
    assert kinds(rows) == {"a": "text", "b": "text"}


def test_a_folder_source_on_a_file_is_not_found(folder: Put) -> None:
    with pytest.raises(SourceNotFound, match="is not a folder"):
        folder("x/a.txt", uri="raw/x/a.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_unreadable_file_is_not_found(kind: str, warehouse: Warehouse, tmp_path: Path) -> None:
    files = {f"raw/{name}": data for name, data in written(kind, ROWS).items()}
    source = open_source(warehouse.collection(source=of_kind(kind, "raw"), files=files))
    (tmp_path / "raw" / f"data.{kind}").chmod(0)
    with pytest.raises(SourceNotFound, match="Permission denied"):
        next(source.scan(EVERYTHING))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_folder_where_a_file_should_be(kind: str, warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "raw" / f"data.{kind}").mkdir(parents=True)
    source = open_source(warehouse.collection(source=of_kind(kind, "raw")))
    with pytest.raises(SourceNotFound, match="directory"):
        next(source.scan(EVERYTHING))


def test_parquet_needs_no_pandas_for_nanoseconds(warehouse: Warehouse, tmp_path: Path) -> None:
    """pandas is not among the dependencies; Arrow asks for it where nanoseconds are odd."""
    times = pa.array([1_000_000_000_000_000_001, 2_000], pa.timestamp("ns"))
    table = pa.table({"id": ["1", "2"], "text": ["a", "b"], "at": times})
    collection = warehouse.collection(
        source={"kind": "parquet", "uri": "x.parquet", "metadata": {"at": "timestamp"}},
        files={"x.parquet": parquet(table)},
    )
    script = (
        "import sys\n"
        "class NoPandas:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'pandas': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoPandas())\n"
        "from pathlib import Path\n"
        "from commonspace.pipeline.config.files import load_collection\n"
        "from commonspace.pipeline.source.records import EVERYTHING\n"
        "from commonspace.pipeline.source.open import open_source\n"
        f"source = open_source(load_collection(Path({str(collection.path)!r})))\n"
        "print([row.values['at'].isoformat() for row in source.scan(EVERYTHING)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=REPOSITORY,
    )  # fmt: skip
    assert done.stdout == "['2001-09-09T01:46:40', '1970-01-01T00:00:00.000002']\n", done.stderr
