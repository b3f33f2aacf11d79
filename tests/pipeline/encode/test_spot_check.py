"""Rows are encoded again and compared: a vector that is not its content's is found."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import Encoded
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.encode.spot_check import sample
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.publish.draft import state_digest
from commonspace.pipeline.release.manifest import (
    Part,
    Release,
    create_release,
    load_release,
    release_key,
    release_numbers,
)
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.validate.stage import validate_stage
from tests.support.gate_reports import gate, refused, untouched
from tests.support.warehouse import NAME, Warehouse, numbered_items

EVERY_ROW = {"spot_rows": 1000}


def rewritten(warehouse: Warehouse, swap: tuple[str, str]) -> None:
    """Release 1 with the vectors of two rows exchanged, and every checksum right again."""
    release, contract = load_release(warehouse.store, NAME, 1), load_contract(warehouse.store, NAME)
    assert contract is not None
    parts = []
    for part in release.parts:
        table = read_part(warehouse.store, part, contract)
        ids = table["id"].to_pylist()
        order = list(range(len(ids)))
        if set(swap) <= set(ids):
            one, other = map(ids.index, swap)
            order[one], order[other] = other, one
        vectors = table["vector"].combine_chunks().take(pa.array(order))
        at = table.schema.get_field_index("vector")
        data = parquet_bytes(table.set_column(at, table.schema.field(at), vectors))
        digest = hashlib.sha256(data).hexdigest()
        parts.append(replace(part, bytes=len(data), sha256=digest))
        warehouse.store.put(part.key, data)
    _recommit(warehouse, release, tuple(parts))


def _recommit(warehouse: Warehouse, release: Release, parts: tuple[Part, ...]) -> None:
    about = {"encoder": release.encoder, "owner": release.owner, "description": ""}
    state = state_digest(parts, None, about)
    warehouse.store.delete(release_key(NAME, release.number))
    assert create_release(warehouse.store, NAME, replace(release, parts=parts, state=state))


def test_two_vectors_on_each_others_ids_are_found(warehouse: Warehouse) -> None:
    """Every checksum, norm and count is right: only encoding the rows again can tell."""
    gates = EVERY_ROW
    warehouse.run(numbered_items(40), gates=gates)
    rewritten(warehouse, ("i0007", "i0031"))
    assert warehouse.verify(repair=True)["ok"]
    assert warehouse.verify(canary=True)["ok"]
    table = warehouse.open().to_arrow()
    vector = table["vector"][table["id"].to_pylist().index("i0007")].as_py()
    right = HashedEncoder(64, "text").encode(["the text of item 31"]).vectors[0]
    assert np.array_equal(np.float32(vector), right)
    before = untouched(warehouse)
    report = warehouse.run(numbered_items(41), gates=gates)
    said = refused(report, "spot_check")
    assert "'i0007'" in said or "'i0031'" in said
    assert "rad from the vector of its content" in said
    assert "release 1" in report["do"]
    assert "version = 2" in report["do"]
    assert gate(report, "spot_check")["value"] > gate(report, "spot_check")["limit"]
    assert report["ledger"] is None  # it was refused before anything was counted
    assert release_numbers(warehouse.store, NAME) == [1]
    assert untouched(warehouse) == before
    assert not list(warehouse.root.glob(".runs/things/shards/*/?????*[0-9a-f].parquet"))


def test_what_a_run_does_not_sample_it_does_not_judge(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(40))
    rewritten(warehouse, ("i0007", "i0031"))
    report = warehouse.run(numbered_items(41), gates={"spot_rows": 0})
    assert report["state"] == "promoted"
    assert gate(report, "spot_check")["value"] is None


class Mixing(HashedEncoder):
    """Gives each row of a large batch the vector of the row before it, as a wrong sort would."""

    def encode(self, contents: Any, **options: Any) -> Encoded:
        encoded = super().encode(contents, **options)
        if len(contents) > 100:
            encoded = replace(encoded, vectors=np.roll(encoded.vectors, 1, axis=0))
        return encoded


def test_an_encoder_that_mixes_up_rows_leaves_nothing_behind(warehouse: Warehouse) -> None:
    collection = warehouse.collection(numbered_items(300))
    work, shards = warehouse.planned(collection)
    with pytest.raises(GateRefused, match="spot_check refused") as found:
        encode_stage(work, shards, Mixing(64, "text"))
    assert "The shards of this process are deleted" in found.value.do
    assert not any(work.finished_shard(key) for key in shards)
    report = warehouse.run(collection)
    assert report["ledger"]["encoded"] == 300
    encoder = HashedEncoder(64, "text")
    for row in warehouse.open().to_arrow().to_pylist():
        text = f"the text of item {int(row['id'][1:])}"
        assert np.array_equal(np.float32(row["vector"]), encoder.encode([text]).vectors[0])


def test_rows_whose_content_is_gone_are_skipped_and_counted(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "source": {"kind": "folder", "uri": "texts", "id": ""},
        "gates": {"max_reject_share": 1.0, **EVERY_ROW},
    }
    files = {f"texts/{n}.txt": f"text {n}".encode() for n in range(10)}
    warehouse.run(files=files, **options)
    collection = warehouse.collection(files={**files, "texts/new.txt": b"new"}, **options)
    work, shards = warehouse.planned(collection)
    (tmp_path / "texts/3.txt").unlink()
    (tmp_path / "texts/4.txt").write_text("changed while the run was on its way")
    encode_stage(work, shards)
    verdict = validate_stage(work)
    (found,) = (one for one in verdict.gates if one.name == "spot_check")
    assert (found.ok, found.value) == (True, 0.0)
    assert found.message.startswith("9 sampled rows")  # eight kept ones and the new one
    assert "2 could not be loaded any more" in found.message


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"source": {"uri": "{partition}.jsonl"}}, id="partitions"),
        pytest.param({"spaces": [{"name": "text", "encoder": "hashed/64", "fields": ["text"],
                                  "overflow": "rows"}]}, id="passages"),
    ],
)  # fmt: skip
def test_spots_are_found_wherever_rows_lie(warehouse: Warehouse, options: dict[str, Any]) -> None:
    def written(count: int) -> Collection:
        data = [{"id": f"i{n}", "text": f"Of {n}. " + f"Words of {n} follow. " * 40}
                for n in range(count)]  # fmt: skip
        lines = [json.dumps(row) + "\n" for row in data]
        files = {f"{p}.jsonl": "".join(lines[p::4]).encode() for p in range(4)}
        whole = {"things.jsonl": "".join(lines).encode()}
        return warehouse.collection(  # type: ignore[no-any-return]
            files=files if "source" in options else whole, gates=EVERY_ROW, **options
        )

    warehouse.run(written(40))
    report = warehouse.run(written(50))
    checked = report["ledger"]["kept"] + report["ledger"]["encoded"]
    assert checked >= 50
    assert gate(report, "spot_check")["message"].startswith(f"{checked} sampled rows")


def test_the_sample_is_the_runs_own(warehouse: Warehouse) -> None:
    """Two runs look at other rows, one run looks at the same ones again."""
    ids = pa.array([str(n) for n in range(10_000)])
    assert sample(ids, 16, "a").equals(sample(ids, 16, "a"))
    assert not sample(ids, 16, "a").equals(sample(ids, 16, "b"))
    assert sample(ids, 10_000, "a").equals(ids)
    assert len(sample(ids, 16, "a").unique()) == 16
    assert len(sample(ids[:0], 16, "a")) == 0
