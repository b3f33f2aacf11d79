"""What a reader is asked for and cannot be: said in our words, and never a raw error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.read.space import Space
from tests.support.warehouse import Warehouse

VECTOR = [1.0] * 64
ITEMS = [{"id": f"{n}", "text": f"text of {n}"} for n in range(3)]


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Space, Space]:
    """One release, read from LanceDB and from Parquet."""
    warehouse = Warehouse.within(tmp_path_factory.mktemp("arguments"))
    warehouse.run_without_error(ITEMS)
    served = warehouse.open()
    assert len(served.search(vector=VECTOR, k=1)) == 1
    warehouse.run_without_error([*ITEMS, {"id": "new", "text": "a new one"}])
    return served, warehouse.open().at(1)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"id": 1}, "1 is no id: it is of type int, and ids are texts"),
        ({"id": b"1"}, "b'1' is no id: it is of type bytes"),
        ({"id": "\ud800"}, "lone surrogate"),
        ({"vector": VECTOR, "where": 5}, "`where` is 5, of type int\n  It takes SQL"),
        ({"vector": VECTOR, "where": 0}, "`where` is 0, of type int"),
        ({"vector": VECTOR, "where": ["id='1'"]}, "of type list"),
        ({"vector": VECTOR, "where": []}, "of type list"),
        ({"vector": VECTOR, "where": ("id", 1)}, "`where` is ('id', 1), of type tuple"),
        ({"vector": VECTOR, "where": b"id='1'"}, "of type bytes"),
        ({"vector": VECTOR, "where": {5: "1"}}, "has no column 5 to compare"),
        ({"vector": VECTOR, "where": {"id": "\ud800"}}, "'id', a string, with '\\ud800'"),
        ({"vector": VECTOR, "where": "id = '\ud800'"}, "refused"),
        ({"vector": VECTOR, "columns": "id"}, "`columns` takes a list of names: ['id']"),
        ({"vector": VECTOR, "columns": 5}, "`columns` takes a list of names: [5]"),
        ({"vector": VECTOR, "columns": [5]}, "has no column 5"),
        ({"vector": "x"}, "not made of numbers"),
        ({"vector": {}}, "not made of numbers"),
        ({"vector": [None] * 64}, "not finite"),
        ({"query": 5}, "expected text, got int"),
    ],
)
def test_a_search(spaces: tuple[Space, Space], asked: dict[str, Any], says: str) -> None:
    for space in spaces:
        with pytest.raises(UserMistake) as refusal:
            space.search(**asked)
        assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([1, None], "1 is no id: it is of type int, and ids are texts"),
        (["1", None], "None is no id"),
        ([["1"]], "['1'] is no id: it is of type list"),
        (["\ud800"], "lone surrogate"),
        (pa.array(["1", None]), "None is no id"),
        (5, "get takes a list of ids: [5]"),
        ("1", "get takes a list of ids: ['1']"),
        (b"1", "get takes a list of ids: [b'1']"),
    ],
)
def test_rows_of_ids(spaces: tuple[Space, Space], ids: Any, says: str) -> None:
    for space in spaces:
        with pytest.raises(UserMistake) as refusal:
            space.get(ids)
        assert says in str(refusal.value)


@pytest.mark.parametrize(
    "ids",
    [
        ["1", "no"],
        ("1", "no"),
        iter(["1", "no"]),
        np.array(["1", "no"]),
        pa.array(["1", "no"]),
        pa.chunked_array([["1"], ["no"]]),
    ],
)
def test_ids_of_any_kind_of_list_are_found(spaces: tuple[Space, Space], ids: Any) -> None:
    found = spaces[0].get(ids)
    assert (found["id"].to_pylist(), found["found"].to_pylist()) == (["1", "no"], [True, False])


def test_other_readings(spaces: tuple[Space, Space]) -> None:
    for columns in ("id", 5, [5], ["no"]):
        with pytest.raises(UserMistake, match=r"takes a list|has no column"):
            spaces[0].to_arrow(columns)  # type: ignore[arg-type]
    for number in (None, "1", 1.5):
        for read in (spaces[0].at, spaces[0].changes):
            with pytest.raises(UserMistake, match="it must be a whole number"):
                read(number)  # type: ignore[arg-type]
    for words in (5, None, " "):
        with pytest.raises(UserMistake, match="a text of at least one word"):
            spaces[0].search_words(words)  # type: ignore[arg-type]
