"""Changes between releases: replaying them over the one gives the other, exactly."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from commonspace.pipeline.errors import NotPublished
from commonspace.pipeline.publish import parts as publish
from commonspace.pipeline.read.space import Space
from tests.support.warehouse import Warehouse


def release_of(warehouse: Warehouse, items: Any = None, **options: Any) -> Space:
    """What a run over these items publishes."""
    warehouse.run_without_error(items, **options)
    return warehouse.open()


def same(one: pa.Table, other: pa.Table) -> bool:
    """Every row and column, bit by bit, whatever the order."""
    return one.sort_by("id").combine_chunks().equals(other.sort_by("id").combine_chunks())


def check_every_pair(space: Space) -> None:
    every = [space.at(one.number) for one in space.releases()]
    for since, until in itertools.product(every, every):
        found = until.changes(since.release.number)
        assert same(found.apply(since.to_arrow()), until.to_arrow())
        old, new = (set(one.to_arrow()["id"].to_pylist()) for one in (since, until))
        assert set(found.added["id"].to_pylist()) == new - old
        assert set(found.removed["id"].to_pylist()) == old - new
        assert set(found.changed["id"].to_pylist()) <= old & new
        assert len(found) == 0 or since is not until


OPTIONS: dict[str, Any] = {
    "source": {"metadata": ["text", "tag"]},
    "gates": {"max_deleted_share": 1.0, "max_duplicate_vectors": 1.0, "max_drift": 1.0},
}


def test_added_changed_and_removed(warehouse: Warehouse) -> None:
    first = [{"id": f"i{n}", "text": f"text {n}", "tag": "a"} for n in range(6)]
    release_of(warehouse, first, **OPTIONS)
    second = [{**first[0], "text": "other"}, {**first[1], "tag": "b"}, *first[2:5],
              {"id": "new", "text": "text 5", "tag": None}]  # fmt: skip
    space = release_of(warehouse, second, **OPTIONS)
    found = space.changes(1)
    assert found.added["id"].to_pylist() == ["new"]
    assert sorted(found.changed["id"].to_pylist()) == ["i0", "i1"]
    assert found.removed["id"].to_pylist() == ["i5"]
    assert found.added.schema.names == space.to_arrow().schema.names
    assert len(space.changes(2)) == 0
    with pytest.raises(NotPublished, match="kept: 1 to 2"):
        space.changes(3)
    check_every_pair(space)


def test_shared_parts_are_not_read(warehouse: Warehouse, tmp_path: Path) -> None:
    files = {
        f"{day}/a.jsonl": b"".join(b'{"id": "%s%d", "text": "%d"}\n' % (day.encode(), n, n)
                                   for n in range(5))
        for day in "xy"
    }  # fmt: skip
    source = {"uri": "{partition}/*.jsonl"}
    gates = OPTIONS["gates"]
    release_of(warehouse, source=source, files=files, gates=gates)
    files["y/b.jsonl"] = b'{"id": "more", "text": "more"}\n'
    space = release_of(warehouse, source=source, files=files, gates=gates)
    (shared,) = {p.key for p in space.release.parts} & {p.key for p in space.at(1).release.parts}
    (tmp_path / "warehouse" / shared).write_bytes(b"damaged")
    assert space.changes(1).added["id"].to_pylist() == ["more"]


ITEM = st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("xyz"), st.sampled_from("pq"))
HISTORY = st.lists(st.lists(ITEM, min_size=1, max_size=12), min_size=2, max_size=4)


@example(history=[[("a", "x", "p")], [("a", "x", "p"), ("b", "x", "p")]], part_rows=2)
@settings(max_examples=4)
@given(history=HISTORY, part_rows=st.sampled_from([2, 16_384]))
def test_replaying_gives_every_other_release(
    tmp_path_factory: pytest.TempPathFactory,
    history: list[list[tuple[str, str, str]]],
    part_rows: int,
) -> None:
    """Real runs over items that come, go, change, and take each other's texts and tags.

    Small parts make buckets split on the way.
    """
    warehouse = Warehouse.within(tmp_path_factory.mktemp("history"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "PART_ROWS", part_rows)
        for state in history:
            items = {item: (text, tag) for item, text, tag in state}
            rows = [{"id": i, "text": text, "tag": tag} for i, (text, tag) in items.items()]
            space = release_of(warehouse, rows, **OPTIONS)
            assert sorted(space.to_arrow()["id"].to_pylist()) == sorted(items)
    check_every_pair(space)
