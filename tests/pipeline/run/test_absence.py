"""What is gone, empty or cut is not taken for deleted, whatever the kind of source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.records import Scope
from tests.pipeline.run.source_files import GATES, notices, texts, things, written
from tests.support.collection_file import TEXT_SPACE, jsonl
from tests.support.documents import DOCUMENTS, document
from tests.support.documents import SPACE as PASSAGES
from tests.support.warehouse import Warehouse, numbered_items


def test_rows_of_a_file_that_is_gone_or_emptied_stay(warehouse: Warehouse, tmp_path: Path) -> None:
    files = {f"{n}.jsonl": jsonl(numbered_items(10, first=10 * n)) for n in range(10)}
    collection = things(warehouse, "jsonl", files)
    warehouse.run_without_error(collection)
    (tmp_path / "in/3.jsonl").unlink()
    report = warehouse.run_without_error(collection)
    assert report["state"] == "unchanged"
    assert notices(report) == {"file_gone": (10, ["3.jsonl"])}
    assert "--delete-missing" in report["notices"][0]["about"]
    for n in (4, 5):
        (tmp_path / f"in/{n}.jsonl").write_bytes(b"")
    (tmp_path / "in/0.jsonl").write_bytes(jsonl(numbered_items(9)))
    report = warehouse.run_without_error(collection)
    assert notices(report) == {
        "file_gone": (10, ["3.jsonl"]), "file_empty": (20, ["4.jsonl", "5.jsonl"]),
    }  # fmt: skip
    assert report["ledger"]["deleted"] == 1, "what a whole file no longer has is deleted"
    assert warehouse.open().release.notices == tuple(report["notices"])
    gates = {gate["name"]: gate["message"] for gate in report["gates"]}
    assert gates["deleted_share"].startswith("1 of 100 published rows would go")
    refused = warehouse.run(things(warehouse, "jsonl", {}, gates={}), delete_missing=True)
    assert "gate deleted_share refused: 30 of 99" in refused["what"]
    loose = things(warehouse, "jsonl", {}, gates={"max_deleted_share": 0.4})
    report = warehouse.run_without_error(loose, delete_missing=True)
    assert (report["ledger"]["deleted"], report["notices"]) == (30, [])
    assert len(texts(warehouse)) == 69


@pytest.mark.parametrize("cut", [1, 2, 6, 15, 710])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_that_lost_its_end_changes_and_deletes_nothing(
    kind: str, cut: int, warehouse: Warehouse
) -> None:
    """From `cut` 2 on, the last text of the CSV has lost its end, and is a text all the same."""
    whole = written(kind, numbered_items(100))
    warehouse.run_without_error(things(warehouse, kind, {f"a.{kind}": whole}))
    before = texts(warehouse)
    half = things(warehouse, kind, {f"a.{kind}": whole[:-cut]})
    report = warehouse.run_without_error(half)
    assert texts(warehouse) == before
    assert report["ledger"]["deleted"] == 0
    if cut > 1:
        (kind_of_notice, (rows, examples)), *_ = notices(report).items()
        assert (kind_of_notice, examples) == ("file_cut", [f"a.{kind}"])
        assert rows >= 1
        (reject,) = warehouse.open().rejects.to_pylist()
        assert reject["reason"] == ("cut_record" if kind == "csv" else "bad_record")
        assert (reject["retryable"], reject["source_uri"]) == (True, f"a.{kind}")
        assert reject["place"].startswith("record ")
    again = warehouse.run_without_error(half)
    assert again["state"] == "unchanged"
    report = warehouse.run_without_error(things(warehouse, kind, {f"a.{kind}": whole}))
    assert (report["ledger"]["kept"], report["notices"]) == (100, [])
    assert len(warehouse.open().rejects) == 0


def test_a_cut_file_is_taken_as_it_is_where_the_run_says_so(warehouse: Warehouse) -> None:
    whole = written("csv", numbered_items(20))
    warehouse.run_without_error(things(warehouse, "csv", {"a.csv": whole}))
    before = texts(warehouse)
    half = things(warehouse, "csv", {"a.csv": whole[:-40]})
    report = warehouse.run_without_error(half, delete_missing=True)
    assert report["ledger"]["deleted"] == 1
    after = texts(warehouse)
    assert after.keys() == before.keys() - {"i0019"}
    assert {item for item in after if after[item] != before[item]} == {"i0018"}
    assert warehouse.run_without_error(half)["state"] == "unchanged"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_file_that_never_had_a_final_line_end_can_lose_and_change_rows(
    kind: str, warehouse: Warehouse
) -> None:
    """The release knows how its files are written; one that gets a line end is known as such."""
    rows = numbered_items(20)
    name = f"a.{kind}"
    open_ended = {n: written(kind, rows[:n])[:-1] for n in (20, 19)}
    changed = written(kind, [*rows[:18], {**rows[18], "text": "changed"}])[:-1]
    warehouse.run_without_error(things(warehouse, kind, {name: open_ended[20]}))
    report = warehouse.run_without_error(things(warehouse, kind, {name: open_ended[19]}))
    assert (report["ledger"]["deleted"], report["notices"]) == (1, [])
    report = warehouse.run_without_error(things(warehouse, kind, {name: changed}))
    assert (report["ledger"]["encoded"], report["notices"]) == (1, [])
    warehouse.run_without_error(things(warehouse, kind, {name: changed + b"\n"}))
    report = warehouse.run_without_error(
        things(warehouse, kind, {name: written(kind, rows[:19])[:-4]})
    )
    assert (report["ledger"]["deleted"], list(notices(report))) == (0, ["file_cut"])


def test_a_file_that_is_renamed_or_split_loses_nothing_and_keeps_nothing(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    rows = numbered_items(20)
    warehouse.run_without_error(things(warehouse, "jsonl", {"a.jsonl": jsonl(rows)}))
    (tmp_path / "in/a.jsonl").unlink()
    moved = {"b.jsonl": jsonl(rows[:12]), "c.jsonl": jsonl(rows[12:])}
    report = warehouse.run_without_error(things(warehouse, "jsonl", moved))
    assert (report["ledger"]["reused"], report["notices"]) == (20, [])
    moved["c.jsonl"] = jsonl(rows[13:])
    report = warehouse.run_without_error(things(warehouse, "jsonl", moved))
    assert (report["ledger"]["deleted"], report["notices"]) == (1, [])


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "file_empty": lambda _: b"",
    "file_cut": lambda data: data[:500],
    "file_unreadable": lambda data: data[:4] + bytes(60) + data[64:],
    "file_unreadable, as it is another": lambda _: b"id,text\n1,a\n",
}


@pytest.mark.parametrize("told", DAMAGED)
def test_a_parquet_file_that_cannot_be_read_stops_no_other(
    told: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    files = {f"{n}.parquet": written("parquet", numbered_items(10, first=10 * n)) for n in (0, 1)}
    warehouse.run_without_error(things(warehouse, "parquet", files))
    before = texts(warehouse)
    files["0.parquet"] = written("parquet", numbered_items(9))
    files["1.parquet"] = DAMAGED[told](files["1.parquet"])
    collection = things(warehouse, "parquet", files)
    report = warehouse.run_without_error(collection)
    assert notices(report) == {told.partition(",")[0]: (10, ["1.parquet"])}
    assert report["ledger"]["deleted"] == 1
    assert texts(warehouse).keys() == before.keys() - {"i0009"}
    rejects = warehouse.open().rejects.to_pylist()
    assert [(row["source_uri"], row["reason"], row["retryable"]) for row in rejects] == [
        ("1.parquet", "source_unreadable", True)
    ] * (told != "file_empty")
    (tmp_path / "in/0.parquet").unlink()
    with pytest.raises(SourceNotFound, match=r"in/1\.parquet: "):
        warehouse.run(collection, delete_missing=True)


def test_in_a_partition_too(warehouse: Warehouse, tmp_path: Path) -> None:
    source = {"kind": "csv", "uri": "day/{partition}/*.csv"}
    one, two = written("csv", numbered_items(10)), written("csv", numbered_items(10, first=10))
    files = {"day/1/a.csv": one, "day/1/b.csv": two, "day/2/a.csv": one.replace(b"i00", b"x00")}
    collection = warehouse.collection(source=source, files=files, gates=GATES)
    warehouse.run_without_error(collection)
    (tmp_path / "day/1/b.csv").write_bytes(b"id,text\n")
    (tmp_path / "day/2/a.csv").unlink()
    report = warehouse.run_without_error(collection, scope=Scope("1"))
    assert notices(report) == {"file_empty": (10, ["1/b.csv"])}
    assert len(texts(warehouse)) == 30
    gates = {gate["name"]: gate["message"] for gate in report["gates"]}
    assert gates["deleted_share"].startswith("0 of 20 published rows would go")
    assert gates["reject_share"].startswith("0 of 30 items are rejects")


def test_in_a_run_of_ids_too(warehouse: Warehouse) -> None:
    whole = written("csv", numbered_items(20))
    warehouse.run_without_error(things(warehouse, "csv", {"a.csv": whole}))
    before = texts(warehouse)
    half = things(warehouse, "csv", {"a.csv": whole[:-4]})
    report = warehouse.run_without_error(half, scope=Scope(ids=frozenset({"i0019", "i0003"})))
    assert (report["ledger"]["kept"], report["ledger"]["rejected"]) == (1, 1)
    assert texts(warehouse) == before


def test_of_passages_too(warehouse: Warehouse) -> None:
    pytest.importorskip("semantic_text_splitter")
    rows = [{"id": "d", "text": "the first"}, *DOCUMENTS]
    whole = {"a.jsonl": jsonl(rows[:2]), "b.jsonl": jsonl(rows[2:])}
    warehouse.run_without_error(things(warehouse, "jsonl", whole, spaces=[PASSAGES]))
    before = texts(warehouse)
    shorter = [rows[0], document("a", "whale ship")]
    cut = {"a.jsonl": jsonl(shorter), "b.jsonl": whole["b.jsonl"][:-9]}
    options = {"spaces": [PASSAGES], "gates": {**GATES, "max_deleted_share": 0.9}}
    report = warehouse.run_without_error(things(warehouse, "jsonl", cut, **options))
    kept, _ = notices(report)["file_cut"]
    assert report["ledger"]["deleted"] == 2, "of a text that is there, the passages that it lost"
    assert kept == len([item for item in before if item.startswith("c#")])
    assert len(texts(warehouse)) == len(before) - 2


def test_each_space_has_its_own_rows_of_a_file(warehouse: Warehouse) -> None:
    spaces = [TEXT_SPACE, {"name": "title", "encoder": "hashed/64", "fields": ["title"]}]
    rows = [*numbered_items(5, title="a"), *numbered_items(5, first=5)]
    whole = jsonl(rows[:5]), jsonl(rows[5:])
    collection = things(
        warehouse, "jsonl", {"a.jsonl": whole[0], "b.jsonl": whole[1]}, spaces=spaces
    )
    warehouse.run_spaces(collection)
    things(warehouse, "jsonl", {"b.jsonl": b""}, spaces=spaces)
    text, title = warehouse.run_spaces(collection)
    assert (notices(text), notices(title)) == ({"file_empty": (5, ["b.jsonl"])}, {})


@pytest.fixture
def album(warehouse: Warehouse) -> Collection:
    names = ["a/1", "a/2", "a/deep/3", "b/4", "b/5", "6", "7"]
    files = {f"in/{name}.bin": f"bytes of {name}".encode() for name in names}
    return warehouse.collection(
        source={"kind": "folder", "uri": "in", "id": "stem", "image_suffixes": [".bin"]},
        spaces=[{"name": "text", "encoder": "hashed/64", "image": "image"}],
        files=files,
        gates=GATES,
    )


def test_a_photo_is_deleted_and_a_folder_is_not(
    warehouse: Warehouse, album: Collection, tmp_path: Path
) -> None:
    warehouse.run_without_error(album)
    (tmp_path / "in/a/2.bin").unlink()
    report = warehouse.run_without_error(album)
    assert (report["ledger"]["deleted"], report["notices"]) == (1, [])
    (tmp_path / "in/a/1.bin").unlink()
    report = warehouse.run_without_error(album)
    assert (report["ledger"]["deleted"], report["notices"]) == (1, []), "a/deep/3 is there"
    shutil.rmtree(tmp_path / "in/b")
    (tmp_path / "in/a/deep/3.bin").unlink()
    report = warehouse.run_without_error(album)
    assert report["ledger"]["deleted"] == 0
    assert notices(report) == {"folder_gone": (3, ["a/deep", "b"])}
    for name in ("6", "7"):
        (tmp_path / f"in/{name}.bin").unlink()
    report = warehouse.run_without_error(album)
    assert notices(report) == {"folder_gone": (5, [".", "a/deep", "b"])}
    assert texts(warehouse).keys() == {"a/deep/3", "b/4", "b/5", "6", "7"}
    assert "deleted_share" in warehouse.run(album, delete_missing=True)["what"]


def test_a_file_that_is_empty_for_now_keeps_its_row(
    warehouse: Warehouse, album: Collection, tmp_path: Path
) -> None:
    warehouse.run_without_error(album)
    photo = tmp_path / "in/b/4.bin"
    before, data = texts(warehouse), photo.read_bytes()
    photo.write_bytes(b"")
    (tmp_path / "in/b/new.bin").write_bytes(b"")
    for _ in range(2):  # it is tried again, and stays
        lines: list[str] = []
        report = warehouse.run_without_error(album, log=lines.append)
        assert any("content cut: 1 (published rows, which stay" in line for line in lines)
        assert (report["ledger"]["rejected"], report["ledger"]["deleted"]) == (2, 0)
        assert notices(report) == {"content_cut": (1, ["b/4"])}
        assert texts(warehouse) == before
        rejects = {row["id"]: row for row in warehouse.open().rejects.to_pylist()}
        assert {row["reason"] for row in rejects.values()} == {"empty_image"}
        assert {item: row["retryable"] for item, row in rejects.items()} == {
            "b/4": True, "b/new": False,
        }  # fmt: skip
    assert warehouse.verify()["ok"]
    report = warehouse.run_without_error(album, delete_missing=True)
    assert (report["ledger"]["deleted"], report["notices"]) == (1, [])
    assert warehouse.run_without_error(album)["state"] == "unchanged"
    photo.write_bytes(data)
    warehouse.run_without_error(album)
    assert texts(warehouse) == before


@pytest.mark.parametrize("cut", [b"", "an umlaut: ä".encode()[:-1]])
def test_a_text_file_that_is_empty_or_cut_within_a_character_keeps_its_row(
    cut: bytes, warehouse: Warehouse, tmp_path: Path
) -> None:
    files = {f"in/{n}.txt": f"text {n}".encode() for n in range(5)}
    folder = {"kind": "folder", "uri": "in", "id": "stem"}
    collection = warehouse.collection(source=folder, files=files, gates=GATES)
    warehouse.run_without_error(collection)
    before = texts(warehouse)
    (tmp_path / "in/2.txt").write_bytes(cut)
    report = warehouse.run_without_error(collection)
    assert texts(warehouse) == before
    assert report["ledger"]["deleted"] == 0
    assert warehouse.open().rejects["retryable"].to_pylist() == [True]
    assert notices(report) == {"content_cut": (1, ["2"])}
    report = warehouse.run_without_error(collection, delete_missing=True)
    assert report["ledger"]["deleted"] == 1
