"""A row for each passage of a long text, from the source to its readers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.pull.passages import item_of_passage, passage_id
from commonspace.pipeline.source.records import Scope
from tests.support.documents import (
    DOCUMENTS,
    NO_LIMITS,
    SPACE,
    document,
    holds_every_passage,
    ledger,
    paragraph,
    passage_ids,
    rows_by_id,
    text_of,
)
from tests.support.warehouse import Warehouse

pytest.importorskip("semantic_text_splitter")


def test_each_passage_is_a_row_with_its_place(publish: Any, warehouse: Warehouse) -> None:
    report = publish(DOCUMENTS)
    assert ledger(report) == {"offered": 7, "encoded": 7}
    assert holds_every_passage(warehouse, DOCUMENTS)
    assert list(rows_by_id(warehouse)) == sorted(
        [*passage_ids("a", 4), *passage_ids("b", 1), *passage_ids("c", 2)]
    )
    row = rows_by_id(warehouse)["b#00000"]
    assert (row["passage_start"], row["passage_end"]) == (0, len(DOCUMENTS[1]["text"]))


def test_offsets_are_those_of_the_joined_text_in_nfc(publish: Any, warehouse: Warehouse) -> None:
    record = {"id": "a", "title": "cafe\u0301 " * 30, "body": f"{text_of('one two')} e\u0301"}
    publish([record], spaces=[{**SPACE, "fields": ["title", "body"]}])
    assert holds_every_passage(
        warehouse, [{"id": "a", "text": "café " * 30 + "\n" + text_of("one two") + " é"}]
    )


def test_a_second_run_encodes_nothing(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    before = {p: p.read_bytes() for p in (warehouse.root / "things").rglob("*") if p.is_file()}
    report = publish(DOCUMENTS)
    assert ledger(report) == {"offered": 7, "kept": 7}
    assert report["state"] == "unchanged"
    after = {p: p.read_bytes() for p in (warehouse.root / "things").rglob("*") if p.is_file()}
    assert after == before


def test_an_edit_encodes_the_passage_it_is_in(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    as_long = [document("a", "whale boat harbour storm"), *DOCUMENTS[1:]]
    assert ledger(publish(as_long)) == {"offered": 7, "encoded": 1, "kept": 6}
    assert holds_every_passage(warehouse, as_long)
    longer = [document("a", "whale vessel harbour storm"), *DOCUMENTS[1:]]
    assert ledger(publish(longer)) == {"offered": 7, "encoded": 1, "reused": 2, "kept": 4}
    assert holds_every_passage(warehouse, longer)


def test_a_passage_that_only_moved_keeps_its_vector(publish: Any, warehouse: Warehouse) -> None:
    first = publish(DOCUMENTS)
    longer = [document("a", "prologue whale ship harbour storm"), *DOCUMENTS[1:]]
    report = publish(longer)
    assert ledger(report) == {"offered": 8, "encoded": 1, "reused": 4, "kept": 3}
    assert holds_every_passage(warehouse, longer)
    found = rows_by_id(warehouse)
    assert found["a#00001"]["run"] == first["run"]
    assert found["a#00000"]["run"] == report["run"]


def test_metadata_is_that_of_the_item(publish: Any, warehouse: Warehouse) -> None:
    source = {"metadata": ["tag"]}
    publish([document("a", "one two", tag="old"), document("b", "three", tag="b")], source=source)
    report = publish(
        [document("a", "one two", tag="new"), document("b", "three", tag="b")], source=source
    )
    assert ledger(report) == {"offered": 3, "reused": 2, "kept": 1}
    assert {row["id"]: row["tag"] for row in rows_by_id(warehouse).values()} == {
        "a#00000": "new", "a#00001": "new", "b#00000": "b",
    }  # fmt: skip


def test_passages_that_vanish_go(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    shorter = [document("a", "whale ship"), *DOCUMENTS[1:]]
    report = publish(shorter)
    assert ledger(report) == {"offered": 5, "kept": 5, "deleted": 2}
    assert holds_every_passage(warehouse, shorter)


def test_a_document_goes_with_all_its_passages(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    report = publish(DOCUMENTS[1:])
    assert ledger(report) == {"offered": 3, "kept": 3, "deleted": 4}
    assert holds_every_passage(warehouse, DOCUMENTS[1:])


def test_ids_name_items_and_cover_their_passages(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    edited = [document("a", "whale boat"), document("b", "other")]
    report = publish(edited, scope=Scope(ids=frozenset({"a"})))
    assert ledger(report) == {"offered": 2, "encoded": 1, "kept": 1, "deleted": 2}
    assert holds_every_passage(warehouse, [edited[0], *DOCUMENTS[1:]])
    publish([DOCUMENTS[1]], scope=Scope(ids=frozenset({"c"})))  # not offered: ids delete no item
    assert holds_every_passage(warehouse, [edited[0], *DOCUMENTS[1:]])


def by_day(days: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    lines = {f"in/{day}.jsonl": "".join(json.dumps(r) + "\n" for r in data).encode()
             for day, data in days.items()}  # fmt: skip
    return {"source": {"uri": "in/{partition}.jsonl"}, "files": lines}


def test_a_partition_is_a_border(publish: Any, warehouse: Warehouse) -> None:
    publish(None, **by_day({"d1": DOCUMENTS[:1], "d2": DOCUMENTS[1:]}))
    edited = {"d1": [document("a", "whale")], "d2": [document("c", "x")]}
    report = publish(None, **by_day(edited), scope=Scope("d2"))
    assert ledger(report) == {"offered": 1, "kept": 1, "deleted": 2}
    assert holds_every_passage(warehouse, [DOCUMENTS[0], document("c", "x")])


def test_an_item_that_moves_takes_all_its_passages(publish: Any, warehouse: Warehouse) -> None:
    """Those it has lost would else stay behind in a partition that nobody runs again."""
    publish(None, **by_day({"d1": DOCUMENTS[:1], "d2": DOCUMENTS[1:]}))
    moved = {"d1": [], "d2": [document("a", "whale ship"), *DOCUMENTS[1:]]}
    publish(None, **by_day(moved), scope=Scope("d2"))
    assert holds_every_passage(warehouse, moved["d2"])
    assert {row["partition"] for row in rows_by_id(warehouse).values()} == {"d2"}


def test_ids_that_look_like_passages_are_ids(publish: Any, warehouse: Warehouse) -> None:
    odd = ["a", "a#00000", "a#00001", "a#", "#", "#00000", "a#00000#00000", "a#0"]
    data = [document(item, f"{n} and more") for n, item in enumerate(odd)]
    report = publish(data)
    assert ledger(report) == {"offered": 24, "encoded": 10, "reused": 14}
    assert holds_every_passage(warehouse, data)
    publish(data[1:])
    assert holds_every_passage(warehouse, data[1:])


@given(ids=st.lists(st.text(alphabet="a#01é", max_size=8), unique=True, max_size=20))
def test_two_passages_never_share_an_id(ids: list[str]) -> None:
    made = [(item, n) for item in ids for n in (0, 1, 10, 99_999, 100_000)]
    assert len({passage_id(*pair) for pair in made}) == len(made)
    assert [item_of_passage(passage_id(*pair)) for pair in made] == [item for item, _ in made]


def test_readers_get_passages(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    space = warehouse.open()
    hits = space.search(paragraph("harbour"), k=3).to_pylist()
    best = hits[0]
    assert (best["id"], best["item"], best["passage"]) == ("a#00002", "a", 2)
    assert DOCUMENTS[0]["text"][best["passage_start"] : best["passage_end"]] == paragraph("harbour")
    found = space.search(paragraph("harbour"), k=10, where={"item": "c"})
    assert set(found["id"].to_pylist()) == set(passage_ids("c", 2))
    got = space.get(["c#00001", "c", "a#00000"]).to_pylist()
    assert [row["found"] for row in got] == [True, False, True]
    assert [row["passage"] for row in got] == [1, None, 0]


def test_other_spaces_of_the_collection_have_items(warehouse: Warehouse) -> None:
    plain = {"name": "plain", "encoder": "hashed/64", "fields": ["text"]}
    collection = warehouse.collection(
        [*DOCUMENTS, {"id": "none"}], spaces=[plain, SPACE], **NO_LIMITS
    )
    reports = warehouse.run_spaces(collection)
    assert [ledger(report) for report in reports] == [
        {"offered": 3, "encoded": 3, "absent": 1},
        {"offered": 7, "encoded": 7, "absent": 1},
    ]
    names = warehouse.open("things/plain").to_arrow().column_names
    assert "item" not in names
    assert holds_every_passage(warehouse, DOCUMENTS)


def test_passages_are_another_contract(publish: Any, warehouse: Warehouse) -> None:
    publish(DOCUMENTS)
    plain = warehouse.collection(DOCUMENTS, spaces=[{**SPACE, "overflow": None}], **NO_LIMITS)
    with pytest.raises(ContractBroken, match="overflow: rows"):
        warehouse.run(plain)


def test_columns_of_passages_are_reserved_where_there_are_any(warehouse: Warehouse) -> None:
    data = [{**document("a", "x"), "item": "7"}]
    source = {"metadata": ["item"]}
    warehouse.collection(data, source=source)
    with pytest.raises(UserMistake, match="adds columns of these names: item"):
        warehouse.collection(data, source=source, spaces=[SPACE])


def test_a_list_of_items_may_be_longer_than_a_file_of_passages(
    publish: Any, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonspace.pipeline.pull.passages.FILE_ROWS", 3)
    data = [document(f"i{n}", "one two three four five"[: 3 + n * 5]) for n in range(5)]
    publish(data)
    assert holds_every_passage(warehouse, data)


words = st.lists(st.sampled_from(["one", "two", "three", "four", "five"]), max_size=5).map(" ".join)
worlds = st.dictionaries(st.sampled_from(["a", "a#00000", "b", "c"]), words, min_size=1)


@settings(max_examples=6)
@given(steps=st.lists(worlds, min_size=2, max_size=3))
def test_whatever_happens_the_release_holds_what_is_offered(
    steps: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    warehouse = Warehouse.within(tmp_path_factory.mktemp("steps"))
    data: list[dict[str, Any]] = []
    for step in steps:
        data = [document("always", "here"), *(document(i, w) for i, w in step.items() if w)]
        warehouse.run_without_error(data, spaces=[SPACE], **NO_LIMITS)
    assert holds_every_passage(warehouse, data)


def test_the_abstracts_of_cranfield(shared: Path, warehouse: Warehouse) -> None:
    xml = (shared / "data/texts/cranfield/cran.all.1400.xml").read_text("utf-8")
    found = re.findall(r"<docno>(\d+)</docno>.*?<text>(.*?)</text>", xml, re.DOTALL)
    data = [{"id": number, "text": text} for number, text in found]
    assert len(data) == 1400
    first = warehouse.run(data, spaces=[SPACE])
    assert first["rejects_by_reason"] == {}
    assert first["ledger"]["absent"] == 2  # numbers 471 and 995 are empty
    assert first["ledger"]["offered"] > 5000
    table = warehouse.open().to_arrow(["item", "passage", "tokens_used", "truncated"])
    assert len(set(table["item"].to_pylist())) == 1398
    assert max(table["tokens_used"].to_pylist()) <= 256
    again = warehouse.run(data, spaces=[SPACE])
    assert again["ledger"]["kept"] == first["ledger"]["encoded"] + first["ledger"]["reused"]
    data[700]["text"] = str(data[700]["text"]).replace(" the ", " some ", 1)
    assert 1 <= warehouse.run(data, spaces=[SPACE])["ledger"]["encoded"] <= 3
