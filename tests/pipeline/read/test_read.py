"""What consumers do: with commonspace, and with DuckDB, Polars, pandas and LanceDB alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import commonspace
from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.errors import NotPublished, UserMistake
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.read.space import Space
from tests.support.warehouse import Warehouse

WORDS = ["whale", "ship", "love", "war", "garden", "river", "stone", "night"]


@pytest.fixture
def space(warehouse: Warehouse) -> Space:
    data = [
        {"id": f"b{n:03}", "text": f"{WORDS[n % 8]} and {WORDS[n % 7]} in chapter {n}",
         "genre": ["novel", "poem"][n % 2]}
        for n in range(200)
    ]  # fmt: skip
    warehouse.run(data, source={"metadata": ["genre"]}, name="books")
    return warehouse.open("books/text")


def exact(space: Space, vector: np.ndarray, k: int) -> list[str]:
    """The nearest ids by brute force over the Parquet rows."""
    table = space.to_arrow()
    matrix = np.stack(table["vector"].to_numpy())
    order = np.argsort(-(matrix @ vector), kind="stable")[:k]
    return [table["id"][int(n)].as_py() for n in order]


def test_search_equals_brute_force(space: Space) -> None:
    found = space.search("a whale and a ship", k=5)
    encoder = HashedEncoder(64, "text")
    vector = encoder.encode(["a whale and a ship"], purpose="query").vectors[0]
    similarity = found["similarity"].to_pylist()
    assert similarity == sorted(similarity, reverse=True)
    assert set(found["id"].to_pylist()) == set(exact(space, vector, 5))
    rows = space.get(found["id"].to_pylist())
    cosines = [float(np.dot(row, vector)) for row in rows["vector"].to_pylist()]
    assert np.allclose(cosines, similarity, atol=1e-6)


def test_search_by_vector_id_and_text_agree(space: Space) -> None:
    row = space.get(["b010"])
    vector = np.array(row["vector"][0].as_py(), np.float32)
    by_vector = space.search(vector=3 * vector, k=4)["id"].to_pylist()
    assert by_vector[0] == "b010"
    assert space.search(id="b010", k=3)["id"].to_pylist() == by_vector[1:]


def test_where_keeps_only_what_it_says(space: Space) -> None:
    assert set(space.search("war", k=50, where={"genre": "poem"})["genre"].to_pylist()) == {"poem"}
    assert space.search("war", k=50, where="genre = 'poem'").num_rows == 50
    injected = {"genre": "x' OR '1'='1"}
    assert space.search("war", where=injected).num_rows == 0


def test_get_keeps_the_order_and_marks_what_is_missing(space: Space) -> None:
    rows = space.get(["b003", "nope", "b001", "b003", "x' OR '1'='1"])
    assert rows["id"].to_pylist() == ["b003", "nope", "b001", "b003", "x' OR '1'='1"]
    assert rows["found"].to_pylist() == [True, False, True, True, False]
    assert rows["vector"][1].as_py() is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "exactly one"),
        ({"query": "x", "id": "b001"}, "exactly one"),
        ({"vector": [1.0, 2.0]}, "shape"),
        ({"vector": [0.0] * 64}, "zero"),
        ({"query": "x", "k": 0}, "at least 1"),
        ({"query": "x", "k": 2.5}, "whole number"),
        ({"query": "x", "k": "3"}, "whole number"),
        ({"query": "x", "k": True}, "whole number"),
        ({"query": "x", "where": {"genr": "novel"}}, "did you mean 'genre'"),
        ({"query": "x", "where": "genre ==== 3"}, "refused"),
        ({"query": "x", "columns": ["titel"]}, "no column"),
        ({"query": "   "}, "cannot be encoded"),
        ({"image": b"x"}, "space of texts"),
        ({"image": "a/path.jpg"}, "space of texts"),
        ({"query": "x", "where": {"genre": b"novel"}}, "no value of a column"),
        ({"query": "x", "where": {"genre": None}}, "genre IS NULL"),
        ({"query": "x", "where": {"genre": 3}}, "'genre', a string, with 3"),
        ({"query": "x", "where": {"passage_start": 1}}, "no column"),
    ],
)
def test_a_wrong_question_is_answered_in_words(
    space: Space, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserMistake, match=says):
        space.search(**arguments)


def test_an_unknown_item_or_space_is_named(space: Space, warehouse: Warehouse) -> None:
    with pytest.raises(NotPublished, match="nope"):
        space.search(id="nope")
    for name in ("book", "books/text/v9", "books/cover", "../books/text", "Books/Text"):
        with pytest.raises(NotPublished):
            commonspace.open(name, warehouse=warehouse.address)


def test_an_open_space_does_not_change_under_its_reader(space: Space, warehouse: Warehouse) -> None:
    before = space.search("whale", k=3).to_pylist()
    warehouse.run(
        [{"id": "only", "text": "whale", "genre": "novel"}],
        source={"metadata": ["genre"]}, name="books", gates={"max_deleted_share": 1.0},
    )  # fmt: skip
    assert space.search("whale", k=3).to_pylist() == before
    assert len(warehouse.open("books/text")) == 1


FOREIGN = """
import json, sys
import numpy as np, duckdb, polars, pandas, lancedb
files, database, table, item, k = json.loads(sys.argv[1])
sql = f"with q as (select vector from read_parquet({files!r}) where id = '{item}') " \\
      f"select t.id from read_parquet({files!r}) t, q where t.id <> '{item}' order by " \\
      f"array_cosine_similarity(t.vector::FLOAT[64], q.vector::FLOAT[64]) desc, t.id limit {k}"
answers = {"duckdb": [row[0] for row in duckdb.sql(sql).fetchall()]}

def nearest(ids, matrix):
    query = matrix[list(ids).index(item)]
    score = dict(zip(ids, (matrix @ query).tolist()))
    del score[item]
    return sorted(score, key=lambda i: (-round(score[i], 6), i))[:k]

frame = polars.read_parquet(files)
answers["polars"] = nearest(frame["id"].to_list(), frame["vector"].to_numpy())
frame = pandas.concat(map(pandas.read_parquet, files))
answers["pandas"] = nearest(frame["id"].tolist(), np.stack(frame["vector"].tolist()))
rows = lancedb.connect(database).open_table(table)
query = next(r["vector"] for r in rows.to_arrow().to_pylist() if r["id"] == item)
hits = rows.search(query).distance_type("dot").limit(k + 1).to_list()
answers["lancedb"] = [hit["id"] for hit in hits if hit["id"] != item][:k]
assert not {"pipeline", "encoders", "commonspace"} & set(sys.modules)
print(json.dumps(answers))
"""


def test_other_engines_find_the_same_neighbours(space: Space, warehouse: Warehouse) -> None:
    question = [space.files(), f"{warehouse.root}/lancedb", "books__text__v1", "b042", 5]
    answer = subprocess.run(
        [sys.executable, "-I", "-c", FOREIGN, json.dumps(question)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    ours = space.search(id="b042", k=5)
    scores = dict(zip(ours["id"].to_pylist(), ours["similarity"].to_pylist(), strict=True))
    for engine, ids in json.loads(answer.stdout).items():
        assert set(ids) == set(scores), engine


def test_the_contract_travels_in_every_file(space: Space, warehouse: Warehouse) -> None:
    for table in space.batches():
        contract = json.loads(table.schema.metadata[b"commonspace"])
        assert contract["space"] == "books/text/v1"
        assert contract["fingerprint"] == space.spec.fingerprint == space.release.fingerprint
    table = connect(warehouse.address).open_table("books__text__v1")
    lance = json.loads(table.schema.metadata[b"commonspace"])
    assert lance["fingerprint"] == space.spec.fingerprint
