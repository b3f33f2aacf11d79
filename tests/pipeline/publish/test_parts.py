"""How rows are cut into parts."""

from __future__ import annotations

import pytest

from commonspace.pipeline.publish.parts import PART_ROWS, bucket_bits
from tests.support.warehouse import Warehouse


@pytest.mark.parametrize(
    ("rows", "bits"),
    [(0, 0), (1, 0), (PART_ROWS, 0), (PART_ROWS + 1, 1), (2 * PART_ROWS, 1),
     (2 * PART_ROWS + 1, 2), (4 * PART_ROWS + 1, 3)],
)  # fmt: skip
def test_a_bucket_holds_at_most_the_rows_of_a_part(rows: int, bits: int) -> None:
    assert bucket_bits(rows) == bits
    assert bucket_bits(rows, before=2) == max(bits, 2), "buckets are split, never joined"


def test_what_is_replaced_is_counted_once(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonspace.pipeline.publish.parts.PART_ROWS", 8)
    gates = {"max_deleted_share": 1.0, "max_drift": 1.0}

    def parts(*numbers: int, word: str = "old") -> list[int]:
        """The rows of each part after a run over these items; the first item has the word."""
        items = [{"id": f"i{n}", "text": f"{word if n == 0 else 'old'} {n}"} for n in numbers]
        warehouse.run_without_error(items, gates=gates)
        return [part.rows for part in warehouse.open().release.parts]

    assert parts(*range(8)) == [8]
    assert parts(*range(8), word="new") == [8], "a changed row takes its own place"
    assert parts(*range(7), 8, word="newer") == [8], "a row goes, another comes"
    split = parts(*range(7), 8, 9, word="newest")
    assert (len(split), sum(split)) == (2, 9)
    assert len(parts(*range(4))) == 2, "what is split stays split"
    assert warehouse.verify()["ok"]


def test_each_partition_is_cut_by_its_own_rows(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commonspace.pipeline.publish.parts.PART_ROWS", 8)
    gates = {"max_deleted_share": 1.0, "max_drift": 1.0}
    days = {"kind": "jsonl", "uri": "{partition}.jsonl"}

    def parts(*, delete_missing: bool = False, **counts: int) -> dict[str, list[str]]:
        """The buckets of each partition after a run over so many items in each."""
        for day, count in counts.items():
            lines = [f'{{"id": "{day}-{n}", "text": "{day} {n}"}}\n' for n in range(count)]
            (warehouse.folder / f"{day}.jsonl").write_text("".join(lines))
        warehouse.run_without_error(source=days, gates=gates, delete_missing=delete_missing)
        buckets: dict[str, list[str]] = {}
        for part in warehouse.open().release.parts:
            buckets.setdefault(str(part.partition), []).append(part.bucket)
        return buckets

    assert parts(d1=8, d2=9) == {"d1": [""], "d2": ["0", "1"]}
    assert parts(d1=9, d2=8) == {"d1": ["0", "1"], "d2": ["0", "1"]}, "split, never joined"
    assert len(parts(d1=17, d2=8)["d1"]) == 4
    assert sorted(parts(d1=17, d2=0, delete_missing=True)) == ["d1"]
    assert warehouse.verify()["ok"]
