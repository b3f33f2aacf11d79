"""What `init` writes for any table is loaded, planned and run as it is."""

from __future__ import annotations

import csv
import io
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.init.draft import EncoderWishes
from commonspace.pipeline.init.init import Written, init_collection
from commonspace.pipeline.init.toml_text import comment, toml_key, toml_value
from tests.support.collection_file import jsonl
from tests.support.warehouse import Warehouse

WISHES = EncoderWishes(text="hashed/64", image="hashed/64")
letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")
names = st.text(letters, min_size=1, max_size=6).map(str.strip).filter(bool)
names |= st.sampled_from(["id", "run", "a.b", "row", "content", 'q"', "back\\slash", "new\nline"])
cells = st.text(letters, max_size=6) | st.integers(-9, 9) | st.booleans() | st.none()
cells |= st.sampled_from(["007", "1.50", "2026-01-31", "x" * 50])
tables = st.lists(names, max_size=4, unique_by=str.casefold).flatmap(
    lambda columns: st.lists(st.tuples(*[cells] * len(columns)), min_size=1, max_size=6).map(
        lambda rows: [
            {**dict(zip(columns, row, strict=True)), "text of it": f"words {number * 'and '}more"}
            for number, row in enumerate(rows)
        ]
    )
)


def written(kind: str, rows: list[dict[str, Any]]) -> bytes:
    if kind == "jsonl":
        return jsonl(rows)
    if kind == "parquet":
        texts = [{k: None if v is None else str(v) for k, v in row.items()} for row in rows]
        out = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(texts), out)
        return bytes(out.getvalue().to_pybytes())
    sink = io.StringIO(newline="")
    writer = csv.DictWriter(sink, rows[0].keys(), delimiter=kind[-1], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def init(folder: Path, path: Path | str) -> Written:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMMONSPACE_COLLECTIONS", str(folder / "collections"))
        return init_collection(str(path), wishes=WISHES)


def runs(rows: list[dict[str, Any]], kind: str, name: str) -> None:
    suffix = kind.rstrip(",;\t")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / f"{name.replace('/', '-').strip('.')}.{suffix}"
        path.write_bytes(written(kind, rows))
        report = Warehouse.within(folder).run(init(folder, path).collection)
        # What is written in two cases only has one vector by `hashed`, which a gate sees.
        assert report.get("error", "GateRefused") == "GateRefused", report
        assert report["ledger"]["rejected"] == 0
        assert report["ledger"]["encoded"] >= 1


KINDS = st.sampled_from(["jsonl", "parquet", "csv,", "csv;", "csv\t"])


@settings(max_examples=5)
@given(tables, KINDS, names)
@example([{"text of it": "words more"}], "csv,", "n[a]*m?e 'q\" é")
def test_any_table_runs(rows: list[dict[str, Any]], kind: str, name: str) -> None:
    runs(rows, kind, name)


@pytest.mark.sources
@settings(max_examples=60)
@given(tables, KINDS, names)
def test_any_of_many_tables_runs(rows: list[dict[str, Any]], kind: str, name: str) -> None:
    runs(rows, kind, name)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(codec="utf-8")))
def test_toml_reads_what_is_written(key: str, value: str) -> None:
    text = f"{comment(value)}{toml_key(key)} = {toml_value([value, {key: value}])}\n"
    assert tomllib.loads(text) == {key: [value, {key: value}]}


def test_a_header_less_table_of_another_delimiter_and_encoding(tmp_path: Path) -> None:
    rows = "".join(f"{n};a text about item {n};Müller\n" for n in range(5))
    (tmp_path / "data.csv").write_bytes(rows.encode("cp1252"))
    made = init(tmp_path, tmp_path / "data.csv")
    source = made.collection.source
    assert (source.delimiter, source.encoding, source.generate_id) == (";", "cp1252", "content")
    assert source.columns == ("column_1", "column_2", "column_3")
    assert source.metadata["column_1"] == "int64"
    assert any(doubt.startswith("NO HEADER LINE") for doubt in made.doubts)
    assert "NOT SURE" in made.collection.path.read_text()
    Warehouse.within(tmp_path).run_without_error(made.collection)
    row = Warehouse.within(tmp_path).open("data/text").to_arrow().to_pylist()[0]
    assert row["column_3"] == "Müller"


def test_a_folder_of_texts_and_images(tmp_path: Path) -> None:
    folder = tmp_path / "My Album!"
    folder.mkdir()
    for n in range(3):
        (folder / f"{n}.txt").write_text(f"a text of number {n}")
        (folder / f"{n}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([n]))
    (folder / "notes.xyz").write_text("")
    made = init(tmp_path, folder)
    assert [space.name for space in made.collection.space] == ["text", "image"]
    assert made.collection.name == "my-album"
    assert "1 files are neither text nor image" in made.doubts[0]
    reports = Warehouse.within(tmp_path).run_spaces(made.collection)
    assert [report["ledger"]["encoded"] for report in reports] == [3, 3]


def test_a_table_whose_images_lie_in_a_folder_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data/pics").mkdir(parents=True)
    for n in range(3):
        (tmp_path / f"data/pics/{n}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([n]))
    rows = [{"file_name": f"{n}.jpg", "caption": f"a picture of number {n}"} for n in range(4)]
    (tmp_path / "data/metadata.jsonl").write_bytes(jsonl(rows))
    made = init(tmp_path, tmp_path / "data")
    source = made.collection.source
    assert (source.kind, source.image_root) == ("jsonl", str(tmp_path / "data/pics"))
    assert [space.name for space in made.collection.space] == ["text", "image"]
    doubt = "1 of 4 images of 'file_name' cannot be read: there is no file '3.jpg'"
    assert doubt in made.doubts


@settings(max_examples=60)
@given(
    st.binary(max_size=60) | st.text(max_size=40).map(str.encode),
    st.sampled_from(["csv", "jsonl", "parquet", "json", "csv.gz", "tsv", ""]),
)
def test_any_bytes_are_described_or_refused(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, f"data.{suffix}")
        path.write_bytes(content)
        with suppress(CommonspaceError):
            assert init(Path(temporary), path).collection.space
