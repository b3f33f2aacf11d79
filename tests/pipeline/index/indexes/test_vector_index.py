"""The vector index: built, measured, searched, kept up, refused, rolled back, damaged, mended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.index.indexes import vector_index
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.read.catalog import list_spaces
from commonspace.pipeline.read.space import Space
from commonspace.pipeline.release.indexes import VectorIndex
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import open_store
from tests.pipeline.index.indexes.indexed_items import SOURCE, SPACE, declared, pointer, rows
from tests.support.checkout import REPOSITORY
from tests.support.warehouse import NAME, Warehouse


def vectors_of(space: Space) -> tuple[list[str], np.ndarray[Any, Any]]:
    table = space.to_arrow(["id", "vector"])
    flat = np.asarray(table["vector"].combine_chunks().flatten(), np.float32)
    return table["id"].to_pylist(), flat.reshape(table.num_rows, -1)


def indices_of(warehouse: Warehouse) -> Path:
    return warehouse.root / f"lancedb/{NAME.table}.lance/_indices"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """6,000 rows in eleven partitions; only read."""
    folder = tmp_path_factory.mktemp("big")
    warehouse = Warehouse.within(folder)
    warehouse.run(
        rows(6000), source=SOURCE, spaces=[{**SPACE, "text_index": ["tag"]}],
        gates={"max_duplicate_vectors": 1.0},
    )  # fmt: skip
    return warehouse


def test_recall_is_measured_and_reported(big: Warehouse) -> None:
    space = big.open()
    index = space.vector_index
    assert index is not None
    assert index.trained_rows == 6000
    assert index.partitions == 11
    assert 0.95 <= index.recall <= 1.0
    assert index.sample == 100
    (entry,) = list_spaces(big.store, [], "things")
    assert entry["gates"][-1] == index.to_gate()
    assert entry["gates"][-1]["name"] == "index_recall"
    assert verify_space(big.store, "things/text").ok


def test_the_measured_recall_is_the_recall(big: Warehouse) -> None:
    """Asked by other rows than the gate has asked by."""
    space = big.open()
    ids, vectors = vectors_of(space)
    found = wanted = 0
    for at in range(13, 6000, 60):
        near = vectors @ vectors[at]
        near[at] = -1
        least = np.sort(near)[-10]
        hits = space.search(id=ids[at])
        found += sum(similarity >= least - 1e-6 for similarity in hits["similarity"].to_pylist())
        wanted += 10
    assert space.vector_index is not None
    assert abs(found / wanted - space.vector_index.recall) < 0.05


def test_similarity_is_the_cosine_with_and_without_the_index(big: Warehouse) -> None:
    space = big.open()
    ids, vectors = vectors_of(space)
    at = {item: number for number, item in enumerate(ids)}
    for exact in (False, True):
        hits = space.search(vector=vectors[5], k=20, exact=exact)
        cosines = [float(vectors[at[item]] @ vectors[5]) for item in hits["id"].to_pylist()]
        assert np.allclose(hits["similarity"].to_pylist(), cosines, atol=1e-6)
        assert cosines == sorted(cosines, reverse=True)


def test_exact_compares_every_row(big: Warehouse) -> None:
    space = big.open()
    _, vectors = vectors_of(space)
    for at in (0, 17, 4321):
        hits = space.search(vector=vectors[at], k=50, exact=True)
        best = np.sort(vectors @ vectors[at])[::-1][:50]
        assert np.allclose(hits["similarity"].to_pylist(), best, atol=1e-6)


@pytest.mark.parametrize("where", [{"tag": "rare"}, "tag = 'rare'"])
def test_a_filter_finds_its_rows_wherever_they_are(big: Warehouse, where: Any) -> None:
    space = big.open()
    ids, vectors = vectors_of(space)
    rare = np.array([int(item[1:]) % 50 == 7 for item in ids])
    for at in (0, 999):
        hits = space.search(vector=vectors[at], k=120, where=where)
        assert hits.num_rows == rare.sum() == 120
        hits = space.search(vector=vectors[at], k=10, where=where)
        best = np.sort((vectors @ vectors[at])[rare])[::-1][:10]
        assert np.allclose(hits["similarity"].to_pylist(), best, atol=1e-6)


def test_as_many_rows_as_there_are(big: Warehouse) -> None:
    space = big.open()
    _, vectors = vectors_of(space)
    assert space.search(vector=vectors[0], k=3000).num_rows == 3000
    assert space.search(vector=vectors[0], k=7000).num_rows == 6000


def test_fewer_probes_find_less(big: Warehouse) -> None:
    """What the ladder climbs: one partition does not do."""
    space = big.open()
    table = connect(big.address).open_table(NAME.table)
    _, vectors = vectors_of(space)
    one = VectorIndex("ivf_sq", 6000, 11, 1, 2, 0.0, 0.95, 200)
    missed = 0
    for at in range(0, 6000, 300):
        rows = vector_index.nearest_query(table, vectors[at], 10, one).select(["id", "_distance"])
        best = np.sort(vectors @ vectors[at])[::-1][:10]
        found = 1 - np.array(rows.to_arrow()["_distance"].to_pylist())
        missed += int((found[: len(best)] < best[: len(found)] - 1e-6).sum())
    assert missed > 20


def test_more_rows_than_there_are(big: Warehouse) -> None:
    space = big.open()
    at = space.to_arrow(["vector"])["vector"][0].as_py()
    assert space.search(vector=at, k=2**63).num_rows == len(space)


def damaged(warehouse: Warehouse, how: str) -> None:
    files = sorted(path for path in indices_of(warehouse).rglob("*") if path.is_file())
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        if how == "deleted":
            path.unlink()
        elif how == "cut":
            path.write_bytes(whole[:middle])
        else:
            path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])


@pytest.mark.parametrize("how", ["flipped", "cut", "deleted"])
def test_damage_is_found_and_mended(warehouse: Warehouse, how: str) -> None:
    warehouse.run(declared(warehouse, rows(400), text_index=["tag"]))
    damaged(warehouse, how)
    answer = warehouse.verify()
    assert not answer["ok"]
    assert "indexes" in answer["problems"][0]
    answer = warehouse.verify(repair=True)
    assert answer["ok"], answer["problems"]
    assert answer["repaired"]
    assert answer["indices"]["vector"]["recall"] >= 0.95
    assert warehouse.open().search(id="i00003", k=10).num_rows == 10
    assert warehouse.open().search_words("rare").num_rows == 8


@pytest.mark.parametrize("how", ["flipped", "cut", "deleted"])
def test_a_damaged_index_is_not_carried_on(warehouse: Warehouse, how: str) -> None:
    warehouse.run(declared(warehouse, rows(400), text_index=["tag"]))
    damaged(warehouse, how)
    warehouse.run(declared(warehouse, rows(410), text_index=["tag"]))
    answer = warehouse.verify()
    assert answer["ok"], answer["problems"]
    assert answer["indices"]["vector"]["trained_rows"] == 410
    assert warehouse.open().search_words("rare", k=100).num_rows == 9


def test_an_index_that_somebody_drops_or_adds(warehouse: Warehouse) -> None:
    from lancedb.index import IvfFlat

    warehouse.run(declared(warehouse, rows(400)))
    table = connect(warehouse.address).open_table(NAME.table)
    table.drop_index("vector_idx")
    table.create_index("vector", config=IvfFlat(distance_type="l2"), name="theirs")
    assert warehouse.verify()["ok"]  # at the version that is served
    warehouse.run(declared(warehouse, rows(410)))
    names = [one.name for one in connect(warehouse.address).open_table(NAME.table).list_indices()]
    assert names == ["vector_idx"]
    assert warehouse.verify()["ok"]


def test_the_pointer_keeps_what_it_says_of_the_index(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, rows(400)))
    data = (warehouse.root / current_key(NAME)).read_bytes()
    assert Current.from_bytes(data) == pointer(warehouse)
    assert Current.from_bytes(data).to_bytes() == data
    document = json.loads(data)
    document["indices"]["vector"]["nprobes"] = 0
    with pytest.raises(ContractBroken, match="checksum"):
        Current.from_bytes(json.dumps(document).encode())
    del document["sha256"], document["indices"]  # as it was before there were indices
    assert Current.from_bytes(json.dumps(document).encode()).indexes is None


def test_in_a_bucket(warehouse: Warehouse, bucket: str) -> None:
    warehouse = Warehouse(warehouse.folder, open_store(bucket))
    warehouse.run(declared(warehouse, rows(400), text_index=["tag"]))
    space = warehouse.open()
    assert space.vector_index is not None
    assert space.search(id="i00003", k=10).num_rows == 10
    assert space.search_words("rare", k=100).num_rows == 8
    assert warehouse.verify()["ok"]
    for key in warehouse.store.list(f"lancedb/{NAME.table}.lance/_indices"):
        data = warehouse.store.read(key)
        assert data is not None
        warehouse.store.put(key, data.to_pybytes()[:-1] + b"?")
    assert "indexes" in warehouse.verify()["problems"][0]
    assert warehouse.verify(repair=True)["ok"]


@pytest.mark.crash
def test_readers_beside_promotions_see_whole_answers(warehouse: Warehouse) -> None:
    warehouse.run(declared(warehouse, rows(400)))
    stop, wrong, asked = threading.Event(), [], [0]

    def read() -> None:
        while not stop.is_set():
            space = warehouse.open()
            hits = space.search(id="i00003", k=10)
            if hits.num_rows != 10 or pa.compute.max(hits["similarity"]).as_py() > 1.0001:
                wrong.append(hits)
            asked[0] += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for count in (500, 900, 400):
            assert warehouse.run(declared(warehouse, rows(count)))["state"] == "promoted"
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert asked[0] > 3


@pytest.mark.crash
def test_killed_while_it_is_built_the_next_run_finishes(warehouse: Warehouse) -> None:
    collection = declared(warehouse, rows(3000))
    environment = {
        **os.environ,
        "COMMONSPACE_COLLECTIONS": str(collection.path.parent),
        "COMMONSPACE_WAREHOUSE": str(warehouse.root),
    }
    command = [sys.executable, "-m", "commonspace", "run", "things"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
    )  # fmt: skip
    ends = time.monotonic() + 60
    while process.poll() is None and not indices_of(warehouse).exists():
        assert time.monotonic() < ends
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load_current(warehouse.store, NAME) is None
    assert warehouse.run(collection)["state"] == "promoted"
    answer = warehouse.verify()
    assert answer["ok"], answer["problems"]
    assert answer["indices"]["vector"]["trained_rows"] == 3000
