"""The vector index: built, measured, searched, kept up, refused, rolled back, damaged, mended."""

from __future__ import annotations

import json
import os
import random
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

from commonspace.pipeline.contract.contract import stored_contract
from commonspace.pipeline.contract.layout import current_key, release_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, GateRefused
from commonspace.pipeline.index import vector_index
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.promote import announced, serve
from commonspace.pipeline.read.catalog import catalog
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.release.indexes import VectorIndex
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import Current, RollbackHold, current
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.storage.store import Store, open_store
from commonspace.pipeline.workspace.work import Run
from tests.support.checkout import REPOSITORY

NAME = SpaceName("things", "text", 1)
SPACE = {"name": "text", "encoder": "hashed/32", "fields": ["text"], "vector_index": "ivf_sq"}
SOURCE = {"metadata": ["tag"]}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Items of eight words out of a thousand; one in fifty has the tag `rare`."""
    chance = random.Random(seed)
    return [
        {
            "id": f"i{n:05}",
            "text": " ".join(f"w{chance.randrange(1000)}" for _ in range(8)),
            "tag": "rare" if n % 50 == 7 else "common",
        }
        for n in range(count)
    ]


def alike(count: int) -> list[dict[str, Any]]:
    """Items that differ by less than an index of 8 bits a number can tell."""
    common = " ".join(f"w{n}" for n in range(40) for _ in range(25))
    return [
        {"id": f"i{n:05}", "text": f"{common} x{n} y{n * 7} z{n * 3}", "tag": ""}
        for n in range(count)
    ]


def go(collection: Any, store: Store, **options: Any) -> dict[str, Any]:
    run = Run(new_run_id(), collection, store, quiet=True)
    return run_collection(run, list(collection.space), log=lambda _: None, **options)[0]


def declared(make_collection: Any, items: list[dict[str, Any]], **space: Any) -> Any:
    limit = space.pop("min_index_recall", 0.95)
    return make_collection(
        items,
        source=SOURCE,
        spaces=[{**SPACE, **space}],
        gates={"min_index_recall": limit, "max_deleted_share": 1.0, "max_drift": 1.0},
    )


def opened(store: LocalStore) -> Space:
    return open_space("things/text", warehouse=store.address)


def pointer(store: LocalStore) -> Current:
    found = current(store, NAME)
    assert found is not None
    return found


def vectors_of(space: Space) -> tuple[list[str], np.ndarray[Any, Any]]:
    table = space.to_arrow(["id", "vector"])
    flat = np.asarray(table["vector"].combine_chunks().flatten(), np.float32)
    return table["id"].to_pylist(), flat.reshape(table.num_rows, -1)


def indices_of(store: LocalStore) -> Path:
    return store.root / f"lancedb/{NAME.table}.lance/_indices"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """6,000 rows in eleven partitions; only read."""
    folder = tmp_path_factory.mktemp("big")
    lines = "".join(json.dumps(row) + "\n" for row in rows(6000))
    (folder / "things.jsonl").write_text(lines)
    (folder / "things.toml").write_text(
        '[collection]\nname = "things"\nowner = "tests"\n'
        '[source]\nkind = "jsonl"\nuri = "things.jsonl"\nid = "id"\nmetadata = ["tag"]\n'
        '[[space]]\nname = "text"\nencoder = "hashed/32"\nfields = ["text"]\n'
        'vector_index = "ivf_sq"\ntext_index = ["tag"]\n'
        "[gates]\nmax_duplicate_vectors = 1.0\n"
    )
    from commonspace.pipeline.config.files import load_collection

    store = LocalStore(folder / "warehouse")
    go(load_collection(folder / "things.toml"), store)
    return store


def test_recall_is_measured_and_told(big: LocalStore) -> None:
    space = opened(big)
    index = space.vector_index
    assert index is not None
    assert index.trained_rows == 6000
    assert index.partitions == 11
    assert 0.95 <= index.recall <= 1.0
    assert index.sample == 100
    (entry,) = catalog(big, [], "things")
    assert entry["gates"][-1] == index.to_gate()
    assert entry["gates"][-1]["name"] == "index_recall"
    assert verify_space(big, "things/text")["ok"]


def test_the_measured_recall_is_the_recall(big: LocalStore) -> None:
    """Asked by other rows than the gate has asked by."""
    space = opened(big)
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


def test_similarity_is_the_cosine_with_and_without_the_index(big: LocalStore) -> None:
    space = opened(big)
    ids, vectors = vectors_of(space)
    at = {item: number for number, item in enumerate(ids)}
    for exact in (False, True):
        hits = space.search(vector=vectors[5], k=20, exact=exact)
        cosines = [float(vectors[at[item]] @ vectors[5]) for item in hits["id"].to_pylist()]
        assert np.allclose(hits["similarity"].to_pylist(), cosines, atol=1e-6)
        assert cosines == sorted(cosines, reverse=True)


def test_exact_compares_every_row(big: LocalStore) -> None:
    space = opened(big)
    _, vectors = vectors_of(space)
    for at in (0, 17, 4321):
        hits = space.search(vector=vectors[at], k=50, exact=True)
        best = np.sort(vectors @ vectors[at])[::-1][:50]
        assert np.allclose(hits["similarity"].to_pylist(), best, atol=1e-6)


@pytest.mark.parametrize("where", [{"tag": "rare"}, "tag = 'rare'"])
def test_a_filter_finds_its_rows_wherever_they_are(big: LocalStore, where: Any) -> None:
    space = opened(big)
    ids, vectors = vectors_of(space)
    rare = np.array([int(item[1:]) % 50 == 7 for item in ids])
    for at in (0, 999):
        hits = space.search(vector=vectors[at], k=120, where=where)
        assert hits.num_rows == rare.sum() == 120
        hits = space.search(vector=vectors[at], k=10, where=where)
        best = np.sort((vectors @ vectors[at])[rare])[::-1][:10]
        assert np.allclose(hits["similarity"].to_pylist(), best, atol=1e-6)


def test_as_many_rows_as_there_are(big: LocalStore) -> None:
    space = opened(big)
    _, vectors = vectors_of(space)
    assert space.search(vector=vectors[0], k=3000).num_rows == 3000
    assert space.search(vector=vectors[0], k=7000).num_rows == 6000


def test_fewer_probes_find_less(big: LocalStore) -> None:
    """What the ladder climbs: one partition does not do."""
    space = opened(big)
    table = connect(big.address).open_table(NAME.table)
    _, vectors = vectors_of(space)
    one = VectorIndex("ivf_sq", 6000, 11, 1, 2, 0.0, 0.95, 200)
    missed = 0
    for at in range(0, 6000, 300):
        rows = vector_index.nearest(table, vectors[at], 10, one).select(["id", "_distance"])
        best = np.sort(vectors @ vectors[at])[::-1][:10]
        found = 1 - np.array(rows.to_arrow()["_distance"].to_pylist())
        missed += int((found[: len(best)] < best[: len(found)] - 1e-6).sum())
    assert missed > 20


def test_small_tables_have_none(make_collection: Any, store: LocalStore) -> None:
    report = go(declared(make_collection, rows(40), vector_index="auto"), store)
    assert "index_recall" not in {gate["name"] for gate in report["gates"]}
    assert pointer(store).indices is None
    assert "indices" not in json.loads((store.root / current_key(NAME)).read_text())
    assert "index" not in json.loads((store.root / release_key(NAME, 1)).read_text())["index"]
    assert connect(store.address).open_table(NAME.table).list_indices() == []
    assert opened(store).vector_index is None


def test_an_index_that_is_asked_for_later_comes_with_a_release_of_the_same_rows(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, rows(400), vector_index="auto"), store)
    parts = opened(store).files()
    report = go(declared(make_collection, rows(400)), store)
    assert report["state"] == "promoted"
    assert report["gates"][-1]["name"] == "index_recall"
    assert opened(store).files() == parts
    assert opened(store).vector_index is not None
    before = (store.root / current_key(NAME)).read_bytes()
    assert go(declared(make_collection, rows(400)), store)["state"] == "unchanged"
    assert (store.root / current_key(NAME)).read_bytes() == before
    go(declared(make_collection, rows(400), vector_index="none"), store)
    assert opened(store).vector_index is None
    assert connect(store.address).open_table(NAME.table).list_indices() == []
    assert verify_space(store, "things/text")["ok"]


def test_a_small_tail_is_left_and_a_large_one_is_taken_in(
    make_collection: Any, store: LocalStore
) -> None:
    def listed() -> Any:
        (one,) = connect(store.address).open_table(NAME.table).list_indices()
        return one

    go(declared(make_collection, rows(400)), store)
    first = listed().index_uuid
    go(declared(make_collection, rows(420)), store)
    assert (listed().index_uuid, listed().num_unindexed_rows) == (first, 20)
    assert opened(store).search(id="i00410", k=400).num_rows == 400
    go(declared(make_collection, rows(500)), store)
    assert listed().num_unindexed_rows == 0
    assert (listed().num_segments, pointer(store).indices.vector.trained_rows) == (2, 400)  # type: ignore[union-attr]
    go(declared(make_collection, rows(900)), store)
    assert listed().num_segments == 1
    assert pointer(store).indices.vector.trained_rows == 900  # type: ignore[union-attr]
    assert verify_space(store, "things/text")["ok"]


def test_an_index_that_finds_too_little_is_not_served(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, rows(300), vector_index="none"), store)
    served = opened(store)
    report = go(declared(make_collection, alike(400), min_index_recall=1.0), store)
    assert report["error"] == "GateRefused"
    assert "index_recall" in report["what"]
    assert "min_index_recall is 100.0%" in report["what"]
    assert "min_index_recall" in report["do"]
    assert pointer(store).release == 1
    assert announced(store, NAME) is None  # LanceDB is back at what is served
    assert connect(store.address).open_table(NAME.table).count_rows() == 300
    assert served.search(id="i00003").num_rows == 10
    assert verify_space(store, "things/text")["ok"]
    report = go(declared(make_collection, alike(400), min_index_recall=0.0), store)
    assert report["state"] == "promoted"
    assert report["gates"][-1]["value"] < 1.0
    assert opened(store).search(id="i00003").num_rows == 10
    go(declared(make_collection, alike(400), vector_index="none"), store)
    assert opened(store).vector_index is None


def test_the_first_release_can_be_refused(make_collection: Any, store: LocalStore) -> None:
    report = go(declared(make_collection, alike(400), min_index_recall=1.0), store)
    assert report["error"] == "GateRefused"
    assert current(store, NAME) is None
    assert go(declared(make_collection, alike(400), vector_index="none"), store)["state"] == (
        "promoted"
    )


def test_a_rollback_has_the_index_that_its_release_wants(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, rows(400)), store)
    go(declared(make_collection, rows(450, seed=1), vector_index="none"), store)
    assert opened(store).vector_index is None
    roll_back(store, NAME)
    index = opened(store).vector_index
    assert index is not None
    assert index.trained_rows == 400
    assert index.recall >= 0.95
    assert verify_space(store, "things/text")["ok"]


def test_a_rollback_is_not_refused_for_its_index(make_collection: Any, store: LocalStore) -> None:
    go(declared(make_collection, rows(300), vector_index="none"), store)
    run = declared(make_collection, alike(400), min_index_recall=1.0)
    assert go(run, store, promote=False)["state"] == "candidate"
    contract, release = stored_contract(store, NAME), load_release(store, NAME, 2)
    assert contract is not None
    hold = RollbackHold("2026-01-01T00:00:00+00:00")
    assert serve(store, NAME, contract, release, by="rollback", after=1, hold=hold)
    space = opened(store)
    assert space.vector_index is not None
    assert space.vector_index.is_weak
    at = space.to_arrow(["id", "vector"]).slice(7, 1).to_pylist()[0]
    by_index, exact = (space.search(vector=at["vector"], k=10, exact=e) for e in (False, True))
    assert by_index["similarity"].equals(exact["similarity"])
    assert verify_space(store, "things/text")["ok"]


def test_a_filter_finds_every_row_after_a_refusal(make_collection: Any, store: LocalStore) -> None:
    """The refused promotion has trained the index again, over many more rows."""
    few = rows(600)
    go(declared(make_collection, few), store)
    more = [{**item, "id": f"x{item['id']}"} for item in alike(2400)]
    report = go(declared(make_collection, [*few, *more], min_index_recall=1.0), store)
    assert report["error"] == "GateRefused"
    space = opened(store)
    at = space.to_arrow(["vector"])["vector"][0].as_py()
    hits = space.search(vector=at, k=100, where={"tag": "rare"})
    assert hits.num_rows == 12
    assert hits["id"].equals(
        space.search(vector=at, k=100, where={"tag": "rare"}, exact=True)["id"]
    )


def test_a_first_release_that_is_refused_leaves_no_announcement(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, alike(400), min_index_recall=1.0), store, promote=False)
    with pytest.raises(GateRefused):
        promote_by_hand(store, NAME)
    assert announced(store, NAME) is None
    go(declared(make_collection, alike(400), vector_index="none"), store, promote=False)
    assert promote_by_hand(store, NAME).release == 2


def test_a_weak_index_of_the_served_release_does_not_keep_a_hold(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, rows(300), vector_index="none"), store)
    run = declared(make_collection, alike(400), min_index_recall=1.0)
    go(run, store, promote=False)
    contract = stored_contract(store, NAME)
    assert contract is not None
    hold = RollbackHold("2026-01-01T00:00:00+00:00")
    release = load_release(store, NAME, 2)
    serve(store, NAME, contract, release, by="rollback", after=1, hold=hold)
    served = pointer(store)
    assert go(run, store)["state"] == "unchanged"
    assert pointer(store).table_version == served.table_version, "it is not trained each time"
    assert promote_by_hand(store, NAME, 2).lifted == hold
    assert pointer(store).hold is None


def test_more_rows_than_there_are(big: LocalStore) -> None:
    space = opened(big)
    at = space.to_arrow(["vector"])["vector"][0].as_py()
    assert space.search(vector=at, k=2**63).num_rows == len(space)


def damaged(store: LocalStore, how: str) -> None:
    files = sorted(path for path in indices_of(store).rglob("*") if path.is_file())
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
def test_damage_is_found_and_mended(make_collection: Any, store: LocalStore, how: str) -> None:
    go(declared(make_collection, rows(400), text_index=["tag"]), store)
    damaged(store, how)
    answer = verify_space(store, "things/text")
    assert not answer["ok"]
    assert "indices" in answer["problems"][0]
    answer = verify_space(store, "things/text", repair=True)
    assert answer["ok"], answer["problems"]
    assert answer["repaired"]
    assert answer["indices"]["vector"]["recall"] >= 0.95
    assert opened(store).search(id="i00003", k=10).num_rows == 10
    assert opened(store).search_words("rare").num_rows == 8


@pytest.mark.parametrize("how", ["flipped", "cut", "deleted"])
def test_a_damaged_index_is_not_carried_on(
    make_collection: Any, store: LocalStore, how: str
) -> None:
    go(declared(make_collection, rows(400), text_index=["tag"]), store)
    damaged(store, how)
    go(declared(make_collection, rows(410), text_index=["tag"]), store)
    answer = verify_space(store, "things/text")
    assert answer["ok"], answer["problems"]
    assert answer["indices"]["vector"]["trained_rows"] == 410
    assert opened(store).search_words("rare", k=100).num_rows == 9


def test_an_index_that_somebody_drops_or_adds(make_collection: Any, store: LocalStore) -> None:
    from lancedb.index import IvfFlat

    go(declared(make_collection, rows(400)), store)
    table = connect(store.address).open_table(NAME.table)
    table.drop_index("vector_idx")
    table.create_index("vector", config=IvfFlat(distance_type="l2"), name="theirs")
    assert verify_space(store, "things/text")["ok"]  # at the version that is served
    go(declared(make_collection, rows(410)), store)
    names = [one.name for one in connect(store.address).open_table(NAME.table).list_indices()]
    assert names == ["vector_idx"]
    assert verify_space(store, "things/text")["ok"]


def test_the_pointer_keeps_what_it_says_of_the_index(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, rows(400)), store)
    data = (store.root / current_key(NAME)).read_bytes()
    assert Current.from_bytes(data) == pointer(store)
    assert Current.from_bytes(data).to_bytes() == data
    document = json.loads(data)
    document["indices"]["vector"]["nprobes"] = 0
    with pytest.raises(ContractBroken, match="checksum"):
        Current.from_bytes(json.dumps(document).encode())
    del document["sha256"], document["indices"]  # as it was before there were indices
    assert Current.from_bytes(json.dumps(document).encode()).indices is None


def test_in_a_bucket(make_collection: Any, bucket: str) -> None:
    store = open_store(bucket)
    go(declared(make_collection, rows(400), text_index=["tag"]), store)
    space = open_space("things/text", warehouse=bucket)
    assert space.vector_index is not None
    assert space.search(id="i00003", k=10).num_rows == 10
    assert space.search_words("rare", k=100).num_rows == 8
    assert verify_space(store, "things/text")["ok"]
    for key in store.list(f"lancedb/{NAME.table}.lance/_indices"):
        data = store.read(key)
        assert data is not None
        store.put(key, data.to_pybytes()[:-1] + b"?")
    assert "indices" in verify_space(store, "things/text")["problems"][0]
    assert verify_space(store, "things/text", repair=True)["ok"]


def test_readers_beside_promotions_see_whole_answers(
    make_collection: Any, store: LocalStore
) -> None:
    go(declared(make_collection, rows(400)), store)
    stop, wrong, asked = threading.Event(), [], [0]

    def read() -> None:
        while not stop.is_set():
            space = opened(store)
            hits = space.search(id="i00003", k=10)
            if hits.num_rows != 10 or pa.compute.max(hits["similarity"]).as_py() > 1.0001:
                wrong.append(hits)
            asked[0] += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for count in (500, 900, 400):
            assert go(declared(make_collection, rows(count)), store)["state"] == "promoted"
    finally:
        stop.set()
        reader.join()
    assert not wrong
    assert asked[0] > 3


def test_killed_while_it_is_built_the_next_run_finishes(
    make_collection: Any, store: LocalStore
) -> None:
    collection = declared(make_collection, rows(3000))
    environment = {
        **os.environ,
        "COMMONSPACE_COLLECTIONS": str(collection.path.parent),
        "COMMONSPACE_WAREHOUSE": str(store.root),
    }
    command = [sys.executable, "-m", "commonspace", "run", "things"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
    )  # fmt: skip
    ends = time.monotonic() + 60
    while process.poll() is None and not indices_of(store).exists():
        assert time.monotonic() < ends
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert current(store, NAME) is None
    assert go(collection, store)["state"] == "promoted"
    answer = verify_space(store, "things/text")
    assert answer["ok"], answer["problems"]
    assert answer["indices"]["vector"]["trained_rows"] == 3000
