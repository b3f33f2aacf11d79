"""The full-text index: on request, found and kept up, and honest where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.read.space import Space
from commonspace.pipeline.release.pointer import load_current
from tests.support.command_line import CommandLine
from tests.support.warehouse import NAME, Warehouse

SOURCE = {"metadata": {"title": "string", "odd name'\"": "string", "year": "int64"}}
ROWS = [
    {"id": "a", "text": "x", "title": "A whale hunt", "odd name'\"": "left", "year": 1851},
    {"id": "b", "text": "y", "title": "WHALE, whale and whale", "odd name'\"": "right", "year": 1},
    {"id": "c", "text": "z", "title": "Der Wal im Café", "odd name'\"": None, "year": 2},
    {"id": "d", "text": "u", "title": "鯨の捕獲について", "odd name'\"": "", "year": 3},
    {"id": "e", "text": "v", "title": None, "odd name'\"": "whale", "year": 4},
]


def declared(warehouse: Warehouse, items: Any, columns: list[str], **space: Any) -> Any:
    texts = {"name": "text", "encoder": "hashed/16", "fields": ["text"], "text_index": columns}
    gates = {"max_duplicate_vectors": 1.0, "max_deleted_share": 1.0}
    return warehouse.collection(items, source=SOURCE, spaces=[{**texts, **space}], gates=gates)


def ids(space: Space, words: str, **options: Any) -> list[str]:
    return [str(item) for item in space.search_words(words, **options)["id"].to_pylist()]


def test_words_are_found(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    space = warehouse.open()
    assert set(ids(space, "whale")) == {"a", "b"}
    assert ids(space, "Whale hunt")[0] == "a"
    assert ids(space, "cafe") == ["c"]
    assert ids(space, "捕獲") == ["d"]
    assert ids(space, "the") == []
    assert ids(space, "whale", where={"year": 1}) == ["b"]
    assert ids(space, "whale", where="year > 1") == ["a"]
    assert ids(space, "whale", k=1) in (["a"], ["b"])
    found = space.search_words("whale", columns=["title"])
    assert found.column_names == ["id", "title", "bm25"]
    scores = found["bm25"].to_pylist()
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0


@pytest.mark.parametrize("words", ["whale OR (", '"', "title:whale^2", "whale' --", "\0whale", "*"])
def test_words_have_no_syntax(warehouse: Warehouse, words: str) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    assert set(ids(warehouse.open(), words)) <= {"a", "b"}


def test_several_columns_and_odd_names(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title", "odd name'\""]))
    assert set(ids(warehouse.open(), "whale")) == {"a", "b", "e"}
    assert warehouse.verify()["ok"]


def test_what_cannot_be_asked(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, []))
    with pytest.raises(UserMistake, match="text_index"):
        warehouse.open().search_words("whale")
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    space = warehouse.open()
    for words in ("", "  "):
        with pytest.raises(UserMistake, match="at least one word"):
            space.search_words(words)
    with pytest.raises(UserMistake, match="no column 'titel'"):
        space.search_words("whale", columns=["titel"])
    with pytest.raises(UserMistake, match="refused"):
        space.search_words("whale", where="titel = 'x'")


def test_another_release_says_that_it_has_none(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    warehouse.run(declared(warehouse, ROWS[:4], ["title"]))
    with pytest.raises(UserMistake, match="Parquet"):
        warehouse.open().at(release=1).search_words("whale")


def test_it_follows_the_release(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    many = [{**ROWS[0], "id": f"m{n}", "title": f"squid number {n}"} for n in range(50)]
    warehouse.run(declared(warehouse, [*ROWS[1:], *many], ["title"]))
    space = warehouse.open()
    assert ids(space, "hunt") == []
    assert len(ids(space, "squid", k=100)) == 50
    (index,) = connect(warehouse.address).open_table(NAME.table).list_indices()
    assert index.num_unindexed_rows == 0
    warehouse.run(declared(warehouse, ROWS, []))
    assert connect(warehouse.address).open_table(NAME.table).list_indices() == []


def test_it_comes_back_with_a_repair(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    for file in (warehouse.root / f"lancedb/{NAME.table}.lance/data").iterdir():
        file.write_bytes(b"nothing")
    assert not warehouse.verify()["ok"]
    assert warehouse.verify(repair=True)["ok"]
    assert set(ids(warehouse.open(), "whale")) == {"a", "b"}


def test_an_index_that_is_gone_says_what_mends_it(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    table = connect(warehouse.address).open_table(NAME.table)
    table.drop_index("title_idx")
    pointer = load_current(warehouse.store, NAME)
    assert pointer is not None
    without_index = replace(pointer, table_version=table.version)
    warehouse.store.put(current_key(NAME), without_index.to_bytes())
    space = warehouse.open()
    with pytest.raises(ContractBroken, match="full-text index of 'title' is gone"):
        space.search_words("whale")


def test_an_empty_release_has_no_words(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    warehouse.run(declared(warehouse, [], ["title"]), delete_missing=True)
    assert len(warehouse.open()) == 0
    assert ids(warehouse.open(), "whale") == []
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    assert len(ids(warehouse.open(), "whale")) == 2


def test_the_command_line(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.run(declared(warehouse, ROWS, ["title"]))
    code, out, _ = command("search", "things/text", "--words", "whale hunt", "--json")
    assert code == 0
    assert json.loads(out)["hits"][0]["id"] == "a"
    code, out, _ = command("search", "things/text", "--words", "whale hunt")
    assert (code, "bm25" in out, "A whale hunt" in out) == (0, True, True)
    code, _, said = command("search", "things/text", "a text", "--words", "whale")
    assert (code, "cannot be combined" in said) == (2, True)
    code, out, _ = command("verify", "things/text")
    assert (code, "full-text index: title" in out) == (0, True)


@pytest.mark.parametrize(
    ("column", "said"), [("titel", r"did you mean 'title'"), ("year", "not a string column")]
)
def test_a_column_that_is_not_there(warehouse: Warehouse, column: str, said: str) -> None:
    with pytest.raises(UserMistake, match=said):
        declared(warehouse, ROWS, [column])


def test_unknown_kinds_of_indices_are_refused(warehouse: Warehouse) -> None:
    with pytest.raises(UserMistake, match="vector_index"):
        declared(warehouse, ROWS, [], vector_index="hnsw")
