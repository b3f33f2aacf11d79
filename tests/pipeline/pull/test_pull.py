"""Pull: every record of the source ends as an item or as a reject."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.parquet import read_table
from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.pull import pull as module
from commonspace.pipeline.pull.item_builder import PullCounts
from commonspace.pipeline.pull.items import items_schema
from commonspace.pipeline.pull.pull import pull
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA
from commonspace.pipeline.source.notices import NoticeCount, NoticeKind
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Scope, sha256_hex
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.progress import Progress
from tests.support.warehouse import Warehouse

SPACES = [
    {"name": "text", "encoder": "hashed/64", "fields": ["text"]},
    {"name": "image", "encoder": "hashed/64", "image": "image"},
]
SOURCE = {"metadata": {"year": "int64"}}


@dataclass
class PulledFiles:
    counts: PullCounts
    items: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    notices: tuple[NoticeCount, ...]

    def item(self, item: str) -> dict[str, Any]:
        (found,) = [row for row in self.items if row["id"] == item]
        return found

    def reasons(self, item: str | None) -> list[str]:
        return [row["reason"] for row in self.rejects if row["id"] == item]


Pull = Callable[..., PulledFiles]


@pytest.fixture
def pull_from(tmp_path: Path) -> Pull:
    def run(collection: Collection, scope: Scope = EVERYTHING) -> PulledFiles:
        store = LocalStore(tmp_path / "warehouse")
        with Progress("pull", None, quiet=True) as progress:
            pulled = pull(
                collection, open_source(collection), store=store, folder=".runs/r", run="r",
                scope=scope, progress=progress,
            )  # fmt: skip
        spaces = [f"{space.name}/v{space.version}" for space in collection.space]
        schema = items_schema(spaces, collection.source.metadata)
        tables = []
        for key in store.list(".runs/r/items"):
            data = store.read(key)
            assert data is not None
            tables.append(read_table(data, key))
            assert tables[-1].schema.equals(schema)
        data = store.read(".runs/r/pull-rejects.parquet")
        assert data is not None
        rejects = read_table(data, "rejects")
        assert rejects.schema.equals(REJECTS_SCHEMA)
        items = pa.concat_tables(tables).to_pylist() if tables else []
        return PulledFiles(pulled.counts, items, rejects.to_pylist(), pulled.notices)

    return run


def record(item: Any = "a", **values: Any) -> dict[str, Any]:
    return {"id": item, "text": "some text", "year": 2024, "image": None, **values}


GOOD = [{}, {"text": "é\u0301"}, {"year": None}, {"text": None}, {"text": 7}, {"year": "7"}]
BAD_IDS: list[Any] = [None, "", 1.5, True, [], "\ud800"]
BAD_METADATA: list[Any] = ["x", 1.5, [], 2**63]
BAD_CONTENT = [
    {"text": {"en": "a"}},
    {"text": "\ud800"},
    {"image": "../x"},
    {"image": 7},
    {"image": "no"},
]

records = st.one_of(
    st.builds(lambda item, v: record(item, **v), st.integers(0, 5), st.sampled_from(GOOD)),
    st.builds(record, st.sampled_from(BAD_IDS)),
    st.builds(
        lambda i, year: record(i, year=year), st.integers(0, 9), st.sampled_from(BAD_METADATA)
    ),
    st.builds(lambda i, v: record(i, **v), st.integers(0, 9), st.sampled_from(BAD_CONTENT)),
    st.sampled_from([[], None, 7]),
)


@settings(max_examples=60)
@given(rows=st.lists(records, max_size=12))
def test_every_record_is_an_item_or_a_reject(
    rows: list[Any], warehouse: Warehouse, pull_from: Pull
) -> None:
    keys = record()  # one record that has every field
    collection = warehouse.collection([keys, *rows], source=SOURCE, spaces=SPACES)
    found = pull_from(collection)
    assert found.counts.records == len(rows) + 1
    assert found.counts.bad_cells == sum(notice.count for notice in found.notices)
    ids = [row["id"] for row in found.items]
    assert len(set(ids)) == len(ids) == found.counts.items
    assert len(found.rejects) == found.counts.rejected
    of_record = [row for row in found.rejects if row["space"] is None]
    of_space = [row for row in found.rejects if row["space"] is not None]
    assert len(ids) + len(of_record) == len(rows) + 1
    for row in of_space:
        assert found.item(row["id"])[f"digest:{row['space']}"] is None
    for row in found.rejects:
        assert row["message"]
        assert (row["stage"], row["run"]) == ("pull", "r")
    expected = _first_of_each_id([keys, *rows])
    assert {row["id"]: row["digest:text/v1"] for row in found.items} == expected


def _first_of_each_id(rows: Sequence[Any]) -> dict[str, str | None]:
    """A model of pull: id -> digest of the text."""
    items: dict[str, str | None] = {}
    seen = set()
    for row in rows:
        if not isinstance(row, Mapping) or type(row["id"]) not in {int, str}:
            continue
        if row["id"] in {"", "\ud800"} or str(row["id"]) in seen:
            continue
        seen.add(str(row["id"]))
        text = row["text"]
        text = None if text == "\ud800" or isinstance(text, dict) else text
        items[str(row["id"])] = None if text is None else sha256_hex(str(text))
    return items


def test_the_first_record_of_an_id_wins(warehouse: Warehouse, pull_from: Pull) -> None:
    rows = [record(7, text="first"), record("7", text="second"), record(7, text="third")]
    found = pull_from(warehouse.collection(rows))
    assert found.item("7")["digest:text/v1"] == sha256_hex("first")
    assert found.reasons("7") == [Reason.DUPLICATE_ID] * 2


def test_ids_are_not_folded(warehouse: Warehouse, pull_from: Pull) -> None:
    ids = ["a", "A", " a", "é", "e\u0301", "01", "1", "\0", "a\n"]
    found = pull_from(warehouse.collection([record(item) for item in ids]))
    assert [row["id"] for row in found.items] == ids


def test_a_digest_is_of_the_content_alone(warehouse: Warehouse, pull_from: Pull) -> None:
    one = pull_from(warehouse.collection([record(year=1, text="e\u0301")], source=SOURCE)).items[0]
    two = pull_from(warehouse.collection([record(year=2, text="é")], source=SOURCE)).items[0]
    three = pull_from(warehouse.collection([record(year=2, text="e")], source=SOURCE)).items[0]
    assert one["digest:text/v1"] == two["digest:text/v1"] == sha256_hex("é")
    assert one["row_digest"] != two["row_digest"] == three["row_digest"]
    assert three["digest:text/v1"] != two["digest:text/v1"]


def test_pulling_again_gives_the_same_and_nothing_old(
    warehouse: Warehouse, pull_from: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    many = pull_from(warehouse.collection([record(n) for n in range(10)]))
    assert [row["id"] for row in many.items] == [str(n) for n in range(10)]
    few = warehouse.collection([record(n) for n in range(4)])
    assert pull_from(few).items == pull_from(few).items == many.items[:4]


def test_one_items_reject_in_one_space_leaves_it_to_the_others(
    warehouse: Warehouse, pull_from: Pull
) -> None:
    rows = [record("a", image="a.png"), record("b", image="gone.png"), record("c", text={})]
    found = pull_from(warehouse.collection(rows, spaces=SPACES, files={"a.png": b"picture"}))
    assert found.item("a")["digest:image/v1"] == sha256_hex(b"picture")
    assert found.item("b")["digest:text/v1"] == sha256_hex("some text")
    assert found.item("b")["digest:image/v1"] is None
    (missing, wrong) = found.rejects
    assert (missing["id"], missing["reason"], missing["space"]) == (
        "b", Reason.MISSING_CONTENT, "image/v1",
    )  # fmt: skip
    assert missing["retryable"]
    assert (wrong["id"], wrong["reason"], wrong["space"]) == ("c", Reason.WRONG_TYPE, "text/v1")


def test_images_lie_below_the_image_root(warehouse: Warehouse, pull_from: Pull) -> None:
    """`image_root` is relative to the collection file, as every path in it is."""
    source = {"uri": "data/rows.jsonl", "image_root": "pictures"}
    files = {
        "data/rows.jsonl": b'{"id": "a", "image": "a.png"}',
        "pictures/a.png": b"right",
        "data/a.png": b"wrong",
    }
    found = pull_from(warehouse.collection(source=source, spaces=SPACES[1:], files=files))
    assert found.item("a")["digest:image/v1"] == sha256_hex(b"right")


@pytest.mark.parametrize(
    ("space", "source", "message"),
    [
        ({"fields": ["txet"]}, {}, "field 'txet' that space 'text'.*did you mean 'text'"),
        ({"fields": ["text", "titel"]}, {}, "field 'titel'.*did you mean 'title'"),
        ({"image": "img"}, {}, "field 'img' that space 'text'"),
        ({"fields": ["text"]}, {"id": "idd"}, "field 'idd' that the source's `id`.*mean 'id'"),
        ({"fields": ["zzz"]}, {}, r"known: id, text, title"),
    ],
)
def test_a_misspelt_field_names_the_nearest(
    space: dict[str, Any], source: dict[str, Any], message: str, warehouse: Warehouse,
    pull_from: Pull,
) -> None:  # fmt: skip
    rows = [{"id": "a", "text": "x"}, {"id": "b", "text": "y", "title": "z"}]
    spaces = [{"name": "text", "encoder": "hashed/64", **space}]
    with pytest.raises(UserMistake, match=message):
        pull_from(warehouse.collection(rows, source=source, spaces=spaces))


def test_a_field_that_only_some_records_have_is_no_mistake(
    warehouse: Warehouse, pull_from: Pull
) -> None:
    rows = [{"id": "a", "text": "x"}, {"id": "b"}]
    found = pull_from(warehouse.collection(rows))
    assert [row["digest:text/v1"] for row in found.items] == [sha256_hex("x"), None]
    found = pull_from(warehouse.collection(rows), Scope(ids=frozenset({"b"})))
    assert [row["id"] for row in found.items] == ["b"]


def test_a_field_may_be_in_the_file_that_cannot_be_read(
    warehouse: Warehouse, pull_from: Pull
) -> None:
    files = {"a.jsonl": b'{"id": "a", "text": "x"}\n', "b.jsonl": b"PAR1\x15" + bytes(99)}
    source = {"uri": "*.jsonl", "metadata": ["genre"]}
    found = pull_from(warehouse.collection(source=source, files=files))
    assert found.reasons(None) == [Reason.SOURCE_UNREADABLE]
    assert [notice.about for notice in found.notices] == ["'genre' of `metadata`"]


def test_a_missing_source_leaves_no_pull_behind(
    warehouse: Warehouse, pull_from: Pull, tmp_path: Path
) -> None:
    with pytest.raises(SourceNotFound):
        pull_from(warehouse.collection(source={"uri": "nowhere.jsonl"}))
    assert not (tmp_path / "warehouse").exists()


def test_ids_of_the_scope_alone_are_pulled(warehouse: Warehouse, pull_from: Pull) -> None:
    rows = [record(n) for n in range(5)] + [record(2, text="again"), record(None), [], record("x")]
    found = pull_from(warehouse.collection(rows), Scope(ids=frozenset({"2", "4", "absent"})))
    assert [row["id"] for row in found.items] == ["2", "4"]
    assert found.reasons("2") == [Reason.DUPLICATE_ID]
    assert len(found.rejects) == 1
    missed = [(notice.count, notice.examples) for notice in found.notices
              if notice.kind is NoticeKind.NOT_OFFERED]  # fmt: skip
    assert missed == [(1, ("absent",))]


@pytest.mark.parametrize("id_", ["stem", "path", ""])
def test_ids_of_a_folder_too(id_: str, warehouse: Warehouse, pull_from: Pull) -> None:
    files = {"raw/a.txt": b"a", "raw/b.txt": b"b", "raw/b.md": b"c"}
    collection = warehouse.collection(
        source={"kind": "folder", "uri": "raw", "id": id_}, files=files
    )
    wanted = "b.txt" if id_ == "path" else "b"
    found = pull_from(collection, Scope(ids=frozenset({wanted})))
    assert [row["id"] for row in found.items] == [wanted]
    assert len(found.rejects) == (0 if id_ == "path" else 1)


def test_a_whole_run_refuses_what_no_run_of_a_partition_accepts(
    warehouse: Warehouse, pull_from: Pull
) -> None:
    files = {f"{day}.jsonl": b'{"id": "1", "text": "t"}\n' for day in ("2026-01-31", "latest")}
    collection = warehouse.collection(
        collection={"partitions": "day", "schedule": "@daily"},
        source={"uri": "{partition}.jsonl"}, files=files,
    )  # fmt: skip
    with pytest.raises(UserMistake, match="'latest' names no day") as caught:
        pull_from(collection)
    assert "like 2026-01-31. Move the file" in caught.value.do
    assert pull_from(collection, Scope("2026-01-31")).counts.items == 1


def test_partitions_are_noted(warehouse: Warehouse, pull_from: Pull) -> None:
    files = {f"d={n}/x.jsonl": b'{"id": "%d", "text": "t"}\n[]\n' % n for n in (1, 2)}
    collection = warehouse.collection(source={"uri": "d={partition}/*.jsonl"}, files=files)
    found = pull_from(collection)
    assert [(row["id"], row["partition"]) for row in found.items] == [("1", "1"), ("2", "2")]
    assert [row["partition"] for row in found.rejects] == ["1", "2"]
    assert found.items[0]["source_uri"] == "d=1/x.jsonl"
    assert [row["id"] for row in pull_from(collection, Scope("2")).items] == ["2"]


def test_file_names_that_are_no_unicode_are_rejects(
    warehouse: Warehouse, pull_from: Pull, tmp_path: Path
) -> None:
    (tmp_path / "raw").mkdir()
    raw = os.fsencode(tmp_path / "raw")
    for name in (b"\xff.txt", b"\xff.md", b"good.txt"):
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(b"text")
    found = pull_from(warehouse.collection(source={"kind": "folder", "uri": "raw", "id": "stem"}))
    assert [row["id"] for row in found.items] == ["good"]
    assert sorted(row["reason"] for row in found.rejects) == [Reason.BAD_ID, Reason.DUPLICATE_ID]
    assert all("udcff" in row["source_uri"] for row in found.rejects)


def test_partitions_that_are_no_unicode_are_rejects(
    warehouse: Warehouse, pull_from: Pull, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d=\xff"))
    odd.mkdir()
    (odd / "x.jsonl").write_bytes(b'{"id": "a", "text": "t"}\n[]\n')
    found = pull_from(warehouse.collection(source={"uri": "d={partition}/*.jsonl"}))
    assert found.items == []
    assert [row["reason"] for row in found.rejects] == [Reason.BAD_ID, Reason.BAD_RECORD]


def test_naughty_strings_everywhere(
    naughty_strings: list[str], warehouse: Warehouse, pull_from: Pull
) -> None:
    rows = [{"id": s, "text": s, "note": s} for s in naughty_strings]
    found = pull_from(warehouse.collection(rows, source={"metadata": ["note"]}))
    kept = list(dict.fromkeys(s for s in naughty_strings if s))
    assert [row["id"] for row in found.items] == kept
    assert [row["note"] for row in found.items] == kept
    assert found.counts.records == 515 == len(kept) + len(found.rejects)


def test_a_csv_pulls_as_its_json_twin(warehouse: Warehouse, pull_from: Pull) -> None:
    rows = [{"id": "01", "text": "a\nb", "year": "2024"}, {"id": "2", "text": "", "year": ""}]
    one = pull_from(warehouse.collection(rows, source=SOURCE)).items
    data = b'id,text,year\r\n01,"a\nb",2024\r\n2,,\r\n'
    source = {**SOURCE, "kind": "csv", "uri": "things.csv"}
    two = pull_from(warehouse.collection(source=source, files={"things.csv": data})).items
    same = ["id", "digest:text/v1", "year"]
    assert [[row[k] for k in same] for row in one] == [[row[k] for k in same] for row in two]
    assert [row["year"] for row in two] == [2024, None]
