"""A vector is known by its encoder and its content: no space encodes what another one holds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import FACTS
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.layout import parts_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.encode.stage import encode_stage
from commonspace.pipeline.maintenance.retain import retain
from commonspace.pipeline.publish.manual import roll_back
from commonspace.pipeline.publish.stage import publish_stage
from commonspace.pipeline.release.markers.retirement import retire_space
from commonspace.pipeline.run.steps import finish
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.stage import validate_stage
from tests.support.collection_file import jsonl
from tests.support.documents import DOCUMENTS
from tests.support.documents import SPACE as PASSAGES
from tests.support.warehouse import NAME, Warehouse, numbered_items

ITEMS = [{**item, "title": f"t{n}"} for n, item in enumerate(numbered_items(40))]
SECTIONS: dict[str, Any] = {
    "gates": {"max_duplicate_vectors": 1.0, "max_drift": 1.0, "max_deleted_share": 1.0},
    "run": {"shard_rows": 16},
}
SECOND = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "version": 2}


def run(warehouse: Warehouse, items: Any = ITEMS, **options: Any) -> dict[str, Any]:
    return warehouse.run_without_error(items, **{**SECTIONS, **options})


def outcome(report: dict[str, Any]) -> tuple[int, int, int]:
    """How many were encoded, reused and kept; each row has the vector of its text."""
    ledger = report["ledger"]
    return ledger["encoded"], ledger["reused"], ledger["kept"]


def check_vectors(warehouse: Warehouse, space: str) -> pa.Table:
    """The rows of a space, each with the very vector of its text."""
    table = warehouse.open(space).to_arrow().sort_by("id")
    texts = {item["id"]: item["text"] for item in ITEMS}
    expected = HashedEncoder(64, "text").encode([texts[i] for i in table["id"].to_pylist()])
    assert np.array_equal(vectors_of(table, 64), expected.vectors)
    assert warehouse.verify(space)["ok"], warehouse.verify(space)["problems"]
    return table


def notices(report: dict[str, Any]) -> dict[str, int]:
    return {f"{n['kind']} {n['about']}": n["count"] for n in report["notices"]}


def test_a_new_version_with_the_same_encoder_encodes_nothing(warehouse: Warehouse) -> None:
    run(warehouse, source={"metadata": ["title"]})
    report = run(warehouse, source={"metadata": ["title"]}, spaces=[SECOND])
    assert outcome(report) == (0, 40, 0)
    assert notices(report) == {"vectors_found in things/text/v1": 40}
    second = check_vectors(warehouse, "things/text/v2")
    first = check_vectors(warehouse, "things/text/v1")
    assert second["run"].equals(first["run"])
    assert second["encoded_at"].equals(first["encoded_at"])
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert (gates["spot_check"]["ok"], gates["spot_check"]["value"]) == (True, 0.0)
    assert warehouse.open("things/text/v2").release.canary, "the encoder was not checked"
    assert outcome(run(warehouse, spaces=[SECOND], source={"metadata": ["title"]})) == (0, 0, 40)
    # Nothing hangs on the first version any more.
    shutil.rmtree(warehouse.root / "things/text/v1")
    check_vectors(warehouse, "things/text/v2")


def test_only_what_no_space_holds_is_encoded(warehouse: Warehouse) -> None:
    """Another collection and a renamed column; one content is in several rows."""
    run(warehouse, ITEMS[:30])
    rows = [{"key": item["id"], "body": item["text"]} for item in ITEMS]
    rows += [{"key": f"again {n}", "body": ITEMS[n]["text"]} for n in (3, 35)]
    collection = warehouse.collection(
        rows, name="other", source={"id": "key"},
        spaces=[{"name": "words", "encoder": "hashed/64", "fields": ["body"]}], **SECTIONS,
    )  # fmt: skip
    report = warehouse.run_without_error(collection)
    assert outcome(report) == (10, 32, 0)
    table = warehouse.open("other/words").to_arrow()
    by_id = dict(zip(table["id"].to_pylist(), vectors_of(table, 64), strict=True))
    assert all(np.array_equal(by_id[f"again {n}"], by_id[f"i{n:04}"]) for n in (3, 35))
    assert warehouse.verify("other/words")["ok"]


def test_two_versions_that_are_run_together_encode_once(warehouse: Warehouse) -> None:
    spaces = [{**SECOND, "version": 1}, SECOND]
    for items in (ITEMS[:30], ITEMS):
        reports = warehouse.run_spaces(items, spaces=spaces, **SECTIONS)
        assert [report["ledger"]["encoded"] for report in reports][1] == 0
    assert [outcome(report) for report in reports] == [(10, 0, 30), (0, 10, 30)]
    check_vectors(warehouse, "things/text/v2")


def test_another_encoder_has_nothing_in_common(warehouse: Warehouse) -> None:
    run(warehouse)
    report = run(warehouse, spaces=[{**SECOND, "encoder": "hashed/32"}])
    assert (outcome(report), report["notices"]) == ((40, 0, 0), [])


def test_rows_that_come_back_are_not_encoded_again(warehouse: Warehouse) -> None:
    run(warehouse)
    run(warehouse, ITEMS[:30])
    run(warehouse, ITEMS[:29])
    assert outcome(run(warehouse)) == (0, 11, 29)
    check_vectors(warehouse, "things/text")
    run(warehouse, ITEMS[:29])
    run(warehouse, ITEMS[:28])
    retain(warehouse.store, NAME, 2)
    assert outcome(run(warehouse)) == (11, 1, 28)


def test_passages_are_found_as_well(warehouse: Warehouse) -> None:
    run(warehouse, DOCUMENTS, spaces=[PASSAGES])
    report = run(warehouse, DOCUMENTS, spaces=[{**PASSAGES, "version": 2}])
    assert report["ledger"]["encoded"] == 0
    assert report["ledger"]["reused"] == report["rows"]
    first, second = (warehouse.open(f"things/text/v{n}").to_arrow() for n in (1, 2))
    assert first["vector"].combine_chunks().equals(second["vector"].combine_chunks())


def test_a_forced_run_reuses_nothing(warehouse: Warehouse) -> None:
    run(warehouse)
    assert outcome(run(warehouse, spaces=[SECOND], force=True)) == (40, 0, 0)


def test_what_was_retired_or_rolled_back_is_not_a_source(warehouse: Warehouse) -> None:
    run(warehouse, ITEMS[:20])
    run(warehouse)
    roll_back(warehouse.store, NAME, reason="mixed up")
    report = run(warehouse, spaces=[SECOND])
    assert outcome(report) == (20, 20, 0)
    for version in (1, 2):
        retire_space(warehouse.store, SpaceName("things", "text", version))
    assert outcome(run(warehouse, spaces=[{**SECOND, "version": 3}])) == (40, 0, 0)


def parts(warehouse: Warehouse) -> list[Path]:
    return sorted((warehouse.root / parts_folder(NAME)).rglob("*.parquet"))


def test_a_damaged_source_is_skipped_and_said(warehouse: Warehouse) -> None:
    run(warehouse)
    (part,) = parts(warehouse)
    part.write_bytes(part.read_bytes()[:-9] + b"123456789")
    report = run(warehouse, spaces=[SECOND])
    assert outcome(report) == (40, 0, 0)
    assert notices(report) == {"source_skipped in things/text/v1": 1}
    check_vectors(warehouse, "things/text/v2")


@pytest.mark.parametrize("key", ["CURRENT", "CONDEMNED", "RETIRED", "releases/000001.json"])
def test_so_is_a_space_of_which_a_file_is_damaged(warehouse: Warehouse, key: str) -> None:
    run(warehouse)
    (warehouse.root / "things/text/v1" / key).write_bytes(b"{")
    report = run(warehouse, spaces=[SECOND])
    assert outcome(report) == (40, 0, 0)
    assert notices(report) == {"source_skipped in things/text/v1": 1}


def test_no_file_is_read_once_all_is_found(warehouse: Warehouse) -> None:
    files = {
        f"p/{name}.jsonl": jsonl(rows) for name, rows in (("a", ITEMS[:20]), ("b", ITEMS[20:]))
    }
    partitioned = {"source": {"uri": "p/{partition}.jsonl"}, "files": files}
    warehouse.run_without_error(**SECTIONS, **partitioned)
    damaged = next(part for part in parts(warehouse) if "in-b" in part.parts)
    damaged.write_bytes(b"damaged")
    report = warehouse.run_without_error(
        **SECTIONS, **partitioned, spaces=[SECOND], scope=Scope(partition="a")
    )
    assert outcome(report) == (0, 20, 0)
    assert notices(report) == {"vectors_found in things/text/v1": 20}


def test_texts_whose_unknown_tokens_were_not_counted_are_encoded(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some may be of texts that are rejects by now, which a sample would not show."""
    facts = FACTS["text"]
    with monkeypatch.context() as earlier:
        fewer = {name: kind for name, kind in facts.items() if name != "tokens_unknown"}
        earlier.setitem(FACTS, "text", fewer)  # type: ignore[index]
        given = HashedEncoder._facts
        earlier.setattr(HashedEncoder, "_facts", lambda *a: {n: given(*a)[n] for n in fewer})
        run(warehouse, ITEMS[:30])
    assert outcome(run(warehouse)) == (10, 0, 30)
    report = run(warehouse, spaces=[SECOND])
    assert outcome(report) == (30, 10, 0)
    assert notices(report) == {"vectors_found in things/text/v1": 10}
    assert check_vectors(warehouse, "things/text/v2")["tokens_unknown"].null_count == 0


def planned_second(warehouse: Warehouse) -> tuple[Any, list[str]]:
    """A run of version 2, planned to copy everything from version 1."""
    run(warehouse)
    collection: Collection = warehouse.collection(ITEMS, spaces=[SECOND], **SECTIONS)
    work, shards = warehouse.planned(collection, "second")
    assert shards
    return work, shards


def finished(warehouse: Warehouse, work: Any) -> tuple[int, int, int]:
    ledger = validate_stage(work).ledger
    publish_stage(work)
    finish(work, promote=True, log=lambda _: None)
    check_vectors(warehouse, "things/text/v2")
    return ledger.encoded, ledger.reused, ledger.kept


def test_a_source_that_is_gone_after_the_plan_is_no_loss(
    warehouse: Warehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    work, shards = planned_second(warehouse)
    for part in parts(warehouse):
        part.unlink()
    assert sorted(encode_stage(work, shards)) == sorted(shards)
    assert "is missing: its contents are encoded" in capfd.readouterr().err
    assert finished(warehouse, work) == (40, 0, 0)


def test_a_source_may_go_once_its_vectors_are_copied(warehouse: Warehouse) -> None:
    work, shards = planned_second(warehouse)
    assert encode_stage(work, shards) == []
    shutil.rmtree(warehouse.root / "things/text/v1")
    assert encode_stage(work, shards) == []
    assert finished(warehouse, work) == (0, 40, 0)


def test_a_source_with_other_vectors_is_not_believed(
    warehouse: Warehouse, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole by every checksum, and its vectors are under the wrong ids."""

    def mixed_up(self: HashedEncoder, contents: Any, **options: Any) -> Any:
        return encode(self, [text[::-1] for text in contents], **options)

    encode = HashedEncoder.encode
    with monkeypatch.context() as broken:
        broken.setattr(HashedEncoder, "encode", mixed_up)
        run(warehouse)
    report = run(warehouse, spaces=[SECOND])
    assert outcome(report) == (40, 0, 0)
    assert "things/text/v1 holds other vectors" in capfd.readouterr().err
    check_vectors(warehouse, "things/text/v2")


def test_a_process_that_ends_between_copy_and_check(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one checks what was copied."""
    work, shards = planned_second(warehouse)
    with monkeypatch.context() as killed:
        killed.setattr("commonspace.pipeline.encode.reuse._compare_sample", _die)
        with pytest.raises(KeyboardInterrupt):
            encode_stage(work, shards)
    for shard in shards:
        file = warehouse.root / work.own_shard(shard)
        table = pq.read_table(file)
        position = table.schema.get_field_index("vector")
        backwards = table["vector"].take(pa.array(range(len(table)))[::-1])
        pq.write_table(table.set_column(position, table.schema.field(position), backwards), file)
    assert encode_stage(work, shards) == []
    assert finished(warehouse, work) == (0, 40, 0)


def _die(*_: Any) -> Any:
    raise KeyboardInterrupt
