"""Gates through whole runs: what holds is promoted, what does not leaves readers as they were."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import Encoded
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import GatesSection
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.parquet import parquet_bytes
from commonspace.pipeline.encode.spot_check import sample
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.errors import GateRefused, UserMistake
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
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.stage import validate_stage
from tests.support.warehouse import Warehouse, numbered_items

NAME = SpaceName("things", "text", 1)
GATES = [
    "ledger", "vectors", "reject_share", "deleted_share", "duplicate_vectors", "drift", "golden",
    "spot_check", "canary",
]  # fmt: skip
EVERY_ROW = {"spot_rows": 1000}


def gate(report: Any, name: str) -> dict[str, Any]:
    return next(dict(one) for one in report["gates"] if one["name"] == name)


def refused(report: dict[str, Any], *names: str) -> str:
    """The first line of a refusal, which names exactly these gates."""
    assert report["error"] == "GateRefused", report
    said = str(report["what"]).partition("\n")[0]
    for name in GATES:
        assert (f"gate {name} refused" in said) == (name in names), said
    return said


def untouched(warehouse: Warehouse) -> dict[Path, bytes]:
    """All that readers are served from."""
    places = [*(warehouse.root / "things").rglob("*"), *(warehouse.root / "lancedb").rglob("*")]
    return {p: p.read_bytes() for p in places if p.is_file() and not p.name.startswith(".")}


def test_every_gate_is_in_the_report_and_in_the_manifest(warehouse: Warehouse) -> None:
    report = warehouse.run(numbered_items(30))
    assert [one["name"] for one in report["gates"]] == GATES
    assert all(one["ok"] and one["message"] for one in report["gates"])
    assert [dict(one) for one in load_release(warehouse.store, NAME, 1).gates] == report["gates"]
    assert gate(report, "spot_check")["value"] == 0.0
    assert "16 sampled rows" in gate(report, "spot_check")["message"]


def test_limits_have_defaults_and_unknown_ones_name_the_nearest(warehouse: Warehouse) -> None:
    limits = warehouse.collection(numbered_items(1)).gates
    assert limits == GatesSection(
        max_reject_share=0.01, max_deleted_share=0.2, max_duplicate_vectors=0.05, max_drift=0.25,
        min_golden_recall=1.0, spot_rows=16,
    )  # fmt: skip
    for wrong, said in {
        "max_drifts": "did you mean 'max_drift'?", "spot_row": "did you mean 'spot_rows'?",
        "golden_recall": "did you mean 'min_golden_recall'?",
    }.items():  # fmt: skip
        with pytest.raises(UserMistake, match=re.escape(said)):
            warehouse.collection(numbered_items(1), gates={wrong: 1})
    for value in ({"max_drift": 1.1}, {"spot_rows": -1}, {"max_duplicate_vectors": -0.1}):
        with pytest.raises(UserMistake, match="gates"):
            warehouse.collection(numbered_items(1), gates=value)


def test_a_run_that_encodes_nothing_measures_no_vector(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}
    warehouse.run(numbered_items(30), **options)
    for data in (numbered_items(30), numbered_items(25)):
        report = warehouse.run(data, **options)
        assert all(one["ok"] for one in report["gates"])
        for name in ("duplicate_vectors", "drift", "golden", "spot_check", "canary"):
            assert gate(report, name)["value"] is None
        said = gate(report, "spot_check")["message"]
        assert said == "nothing was encoded; nothing was re-encoded"


# --- duplicate vectors ------------------------------------------------------------------------


def shouting(count: int) -> list[dict[str, Any]]:
    """The texts of `rows` in capitals: other content, which a case-blind encoder cannot tell."""
    return [{"id": f"loud{n}", "text": f"THE TEXT OF ITEM {n}"} for n in range(count)]


def test_unlike_contents_with_one_vector_are_refused(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(40))
    before = untouched(warehouse)
    report = warehouse.run([*numbered_items(40), *shouting(10)])
    said = refused(report, "duplicate_vectors")
    assert "20 of 50 rows have a vector that other content has too" in said
    assert "look whether the encoder can tell" in said
    assert untouched(warehouse) == before
    limit = {"max_duplicate_vectors": 0.4}
    report = warehouse.run([*numbered_items(40), *shouting(10)], gates=limit)
    assert gate(report, "duplicate_vectors")["value"] == pytest.approx(0.4)
    assert report["state"] == "promoted"


def test_rows_that_leave_do_not_count(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {"gates": {"max_deleted_share": 1.0}}
    warehouse.run(numbered_items(40), **options)
    report = warehouse.run(shouting(40), **options)
    assert gate(report, "duplicate_vectors")["value"] == 0.0


def test_identical_contents_are_no_duplicates(warehouse: Warehouse) -> None:
    data = [{"id": f"o'{n}\" -- \\", "text": "the same text"} for n in range(5000)]
    report = warehouse.run(data, gates={"max_duplicate_vectors": 0.0})
    assert gate(report, "duplicate_vectors")["value"] == 0.0
    assert "0 of 5000 rows" in gate(report, "duplicate_vectors")["message"]
    report = warehouse.run([*data, {"id": "one", "text": "another"}])
    assert "0 of 5001 rows" in gate(report, "duplicate_vectors")["message"]
    assert len(warehouse.open()) == 5001


def test_one_row_and_then_none(warehouse: Warehouse) -> None:
    options: dict[str, Any] = {
        "gates": {"max_deleted_share": 1.0, "max_reject_share": 1.0, **EVERY_ROW}
    }
    report = warehouse.run([{"id": "\"'; --", "text": "only"}], **options)
    assert report["state"] == "promoted"
    assert gate(report, "duplicate_vectors")["value"] == 0.0
    report = warehouse.run([{"id": "\"'; --", "text": "  "}], **options)
    assert report["ledger"]["rejected"] == 1
    assert len(warehouse.open()) == 0
    report = warehouse.run([{"id": "\"'; --", "text": "again"}], **options)
    assert all(one["ok"] for one in report["gates"])
    assert len(warehouse.open()) == 1


# --- drift ------------------------------------------------------------------------------------


def test_a_batch_of_one_thing_over_and_over_is_drift(warehouse: Warehouse) -> None:
    words = ["river", "stone", "lamp", "quiet", "engine", "violet", "seven", "harbour"]
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, 6)) + f" {n}" for n in range(900)]
    data = [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)]
    warehouse.run(data[:300])
    report = warehouse.run(data[:600])
    assert gate(report, "drift")["value"] < 0.01
    boilerplate = "an error has occurred, please sign in again to see this page, code "
    errors = [{"id": f"e{n}", "text": f"{boilerplate}{n}"} for n in range(300)]
    before = untouched(warehouse)
    report = warehouse.run([*data[:600], *errors])
    said = refused(report, "drift")
    assert "look what changed in the source" in said
    assert untouched(warehouse) == before
    report = warehouse.run([*data[:600], *errors], gates={"max_drift": 1.0})
    assert gate(report, "drift")["value"] > 0.25
    assert report["state"] == "promoted"


# --- the spot check ---------------------------------------------------------------------------


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
    assert "The shards that were made are dropped" in found.value.do
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


# --- golden queries ---------------------------------------------------------------------------


def golden(*lines: Any) -> dict[str, bytes]:
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return {"golden.jsonl": "\n".join(told).encode()}


SPACE = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "golden": "golden.jsonl"}


def test_golden_queries_hold_or_the_run_is_refused(warehouse: Warehouse) -> None:
    files = golden({"query": "the text of item 5", "ids": ["i0005"], "k": 1}, "",
                   {"query": "item 9", "ids": ["i0009"]})  # fmt: skip
    collection = warehouse.collection(numbered_items(30), spaces=[SPACE], files=files)
    report = warehouse.run(collection)
    assert gate(report, "golden")["value"] == 1.0
    before = untouched(warehouse)
    data = [
        *numbered_items(30),
        *({"id": f"x{n}", "text": f"item 9{chr(97 + n)}"} for n in range(20)),
    ]
    report = warehouse.run(data, spaces=[SPACE])
    said = refused(report, "golden")
    assert "1 of 2 golden ids" in said
    assert "missed first: 'item 9' wants 'i0009'" in said
    assert untouched(warehouse) == before
    report = warehouse.run(data, spaces=[SPACE], gates={"min_golden_recall": 0.3})
    assert gate(report, "golden")["value"] == 0.5
    assert report["state"] == "promoted"


def test_a_golden_item_that_is_deleted_is_missed(warehouse: Warehouse) -> None:
    """Nothing is encoded in that run: the query alone is."""
    options: dict[str, Any] = {
        "spaces": [SPACE], "files": golden({"query": "item 5", "ids": ["i0005"]}),
        "gates": {"max_deleted_share": 1.0},
    }  # fmt: skip
    warehouse.run(numbered_items(30), **options)
    report = warehouse.run(numbered_items(20, first=10), **options)
    refused(report, "golden")
    report = warehouse.run(numbered_items(20), **options)
    assert gate(report, "golden")["value"] == 1.0
    report = warehouse.run(numbered_items(20), **options)
    assert gate(report, "golden")["value"] is None


def test_items_of_passages_are_golden_too(warehouse: Warehouse) -> None:
    space = {**SPACE, "overflow": "rows"}
    data = [{"id": f"i#{n}", "text": f"{n} is told of. " * 60} for n in range(10, 20)]
    files = golden({"query": "13 is told of", "ids": ["i#13"]},
                   {"query": "15 is told of", "ids": ["i#15#00000"], "k": 20})  # fmt: skip
    report = warehouse.run(data, spaces=[space], files=files)
    assert gate(report, "golden")["value"] == 1.0


def test_a_run_over_a_part_does_not_judge_ids_to_come(warehouse: Warehouse) -> None:
    lines = [json.dumps(row) + "\n" for row in numbered_items(20)]
    files = {"a.jsonl": "".join(lines[:10]).encode(), "b.jsonl": "".join(lines[10:]).encode()}
    files |= golden({"query": "item 5", "ids": ["i0005", "i0015"], "k": 20})
    options: dict[str, Any] = {"source": {"uri": "{partition}.jsonl"}, "spaces": [SPACE]}
    (warehouse.root.parent / "x").mkdir()
    collection = warehouse.collection(files=files, **options)
    report = warehouse.run(collection, scope=Scope(partition="a"))
    assert "1 of 1 golden ids" in gate(report, "golden")["message"]
    assert "1 ids outside the run's scope" in gate(report, "golden")["message"]
    report = warehouse.run(collection, scope=Scope(partition="b"))
    assert "2 of 2 golden ids" in gate(report, "golden")["message"]


def test_a_golden_item_that_a_run_over_a_part_removes_is_missed(warehouse: Warehouse) -> None:
    lines = [json.dumps(row) + "\n" for row in numbered_items(20)]
    files = {"of-a.jsonl": "".join(lines[:10]).encode(), "of-b.jsonl": "".join(lines[10:]).encode()}
    files |= golden({"query": "item 5", "ids": ["i0005"], "k": 20})
    options: dict[str, Any] = {"source": {"uri": "of-{partition}.jsonl"}, "spaces": [SPACE],
                               "gates": {"max_deleted_share": 1.0}}  # fmt: skip
    assert "error" not in warehouse.run(files=files, **options)
    files["of-a.jsonl"] = "".join(lines[:5] + lines[6:10]).encode()
    report = warehouse.run(files=files, **options, scope=Scope(partition="a"))
    refused(report, "golden")


def test_golden_images(warehouse: Warehouse) -> None:
    space = {"name": "text", "encoder": "hashed/64", "image": "image", "golden": "asked/g.jsonl"}
    photos = {f"photos/{n}.png": bytes([n] * 40) for n in range(1, 20)}
    asked = json.dumps({"image": "../photos/7.png", "ids": ["7"], "k": 1}).encode()
    report = warehouse.run(
        files={**photos, "asked/g.jsonl": asked}, spaces=[space],
        source={"kind": "folder", "uri": "photos", "id": ""},
    )  # fmt: skip
    assert gate(report, "golden")["value"] == 1.0
