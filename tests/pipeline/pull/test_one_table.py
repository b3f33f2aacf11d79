"""One table gives one answer, in whatever format it is written."""

from __future__ import annotations

import string
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.pull.item_builder import ItemBuilder
from commonspace.pipeline.source.conversion.table import CONVERTERS
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.workspace.progress import Progress
from tests.pipeline.pull.tables import FORMATS, SCALARS, Column, Table, tables
from tests.support.warehouse import Warehouse

KINDS = dict(zip(string.ascii_lowercase, CONVERTERS, strict=False))
"""A metadata column of each declared type."""
SPACES = [
    {"name": "both", "encoder": "hashed/64", "fields": ["title", "blurb"]},
    {"name": "one", "encoder": "hashed/64", "fields": ["blurb"]},
]


@pytest.fixture
def collections(tmp_path: Path) -> dict[str, Collection]:
    """The same collection of each format, over files that are still to be written."""
    found = {}
    for form in FORMATS:
        (tmp_path / form).mkdir()
        source = {"kind": form, "uri": f"{form}/*", "metadata": KINDS}
        warehouse = Warehouse.within(tmp_path)
        found[form] = warehouse.collection(
            name="things", source=source, spaces=SPACES,
            gates={"max_reject_share": 1.0, "max_duplicate_vectors": 1.0, "max_drift": 1.0},
        )  # fmt: skip
    return found


def write(table: Table, collection: Collection, folder: Path) -> Collection:
    """The collection over the files of a table, which has its metadata columns."""
    form, source = collection.source.kind, collection.source
    for path in (folder / form).iterdir():
        path.unlink()
    for number, data in enumerate(table.written(form)):
        (folder / form / str(number)).write_bytes(data)
    made = {column.name for column in table.columns}
    metadata = {name: kind for name, kind in KINDS.items() if name in made}
    return collection.model_copy(
        update={"source": source.model_copy(update={"metadata": metadata})}
    )


def pulled(collection: Collection) -> tuple[list[Any], ...]:
    """The items but for their places, the rejects by reason, and what else was met how often."""
    builder = ItemBuilder(collection, "r", {})
    with Progress("pull", None, quiet=True) as progress:
        items = list(builder.items(open_source(collection).scan(EVERYTHING), progress))
    for item in items:
        del item["locator"]
    rejects = [
        (row["id"], row["reason"], row["space"], row["source_uri"]) for row in builder.rejects
    ]
    notices = [(notice.kind, notice.about, notice.count) for notice in builder.notices.counts()]
    return items, rejects, sorted(notices)


@pytest.mark.sources
@settings(max_examples=1000)
@given(table=tables(list(KINDS)))
def test_a_thousand_tables_are_pulled_the_same_from_every_format(
    table: Table, collections: dict[str, Collection], tmp_path: Path
) -> None:
    require_pulled_the_same(table, collections, tmp_path)


@settings(max_examples=50)
@given(table=tables(list(KINDS)))
def test_a_table_is_pulled_the_same_from_every_format(
    table: Table, collections: dict[str, Collection], tmp_path: Path
) -> None:
    require_pulled_the_same(table, collections, tmp_path)


def require_pulled_the_same(
    table: Table, collections: dict[str, Collection], tmp_path: Path
) -> None:
    found = {}
    for form, collection in collections.items():
        found[form] = pulled(write(table, collection, tmp_path))
    assert found["csv"] == found["jsonl"]
    assert found["jsonl"] == found["parquet"]


def whole_table() -> Table:
    """Nulls, empty texts, a missing column, decimals, dates, repeated names, any script."""
    made: dict[str, tuple[str, list[Any]]] = {
        "id": ("integer", [1, 2, 3, 4, 5]),
        "title": ("text", ["Emma", "", "東京 🐳", None, "e\u0301"]),
        "blurb": ("decimal", [Decimal("1.50"), None, Decimal("-3.00"), None, Decimal("0.10")]),
        "a": ("date", [date(2026, 1, 31), None, date.min, date.max, None]),
        "b": ("float", [1999.0, None, float("nan"), -1.0, 2001.0]),
        "d": ("decimal", [Decimal("1.00"), None, Decimal("0.00"), None, None]),
        "g": ("integer", [1_714_564_800_000, None, -1, 0, 5]),
    }
    both = frozenset({0, 1})
    columns = [
        Column(name, SCALARS[kind], values, frozenset({1}) if name == "a" else both)
        for name, (kind, values) in made.items()
    ]
    return Table(columns, [2, 5], has_repeated_names=True)


def test_a_table_gives_one_release_from_every_format(
    collections: dict[str, Collection], tmp_path: Path
) -> None:
    found = {}
    for form, collection in collections.items():
        warehouse = Warehouse.within(tmp_path / f"run-{form}")
        reports = warehouse.run_spaces(write(whole_table(), collection, tmp_path))
        assert not any("error" in report for report in reports), reports
        opened = [warehouse.open(f"things/{space['name']}") for space in SPACES]
        tables = [space.to_arrow().drop(["run", "encoded_at"]) for space in opened]
        rejects = [space.rejects.drop(["run", "place"]).to_pylist() for space in opened]
        found[form] = [report["ledger"] for report in reports], rejects, tables
    assert found["csv"][:2] == found["jsonl"][:2] == found["parquet"][:2]
    for one, two, three in zip(*(tables for _, _, tables in found.values()), strict=True):
        assert one.equals(two)
        assert two.equals(three)
    both, _ = found["csv"][2]
    assert both["id"].to_pylist() == ["1", "3", "5"]


def test_texts_of_a_folder_are_those_of_a_table(warehouse: Warehouse) -> None:
    texts = {"a": "Emma", "b": "東京 🐳", "c": "e\u0301\nx", "d": "  "}
    files = {f"folder/{name}.txt": text.encode() for name, text in texts.items()}
    gates = {"max_reject_share": 1.0}
    folder = warehouse.collection(source={"kind": "folder", "uri": "folder", "id": "stem"},
                                  name="folder", files=files, gates=gates)  # fmt: skip
    lines = [{"id": name, "text": text} for name, text in texts.items()]
    table = warehouse.collection(lines, name="table", gates=gates)
    one, two = pulled(folder), pulled(table)
    same = ["id", "digest:text/v1"]
    assert [[i[k] for k in same] for i in one[0]] == [[i[k] for k in same] for i in two[0]]
    assert one[1] == two[1]
