"""The records between stages: files as they are written, and those of earlier commits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from commonspace.pipeline.canary.check import CanaryNote
from commonspace.pipeline.encode.notes import EncodeNote
from commonspace.pipeline.gates.gate import Gate
from commonspace.pipeline.gates.ledger import Ledger
from commonspace.pipeline.gates.spot import SpotCheckResult
from commonspace.pipeline.publish.notes import PromotionNote, PublishNote
from commonspace.pipeline.source.records import Scope
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary, RunNote, as_stored
from commonspace.pipeline.workspace.work import Work
from tests.support.warehouse import Warehouse

RUN = """
{"run": "r", "records": 5, "items": 4, "rejected": 1, "seconds": 0.25,
 "scope": {"partition": null, "ids": ["a", "b"]}, "retry_rejects": true}
"""
PLAN = """
{"absent": 2, "base": 3, "delete": 1, "encode": 4, "estimated_seconds": null,
 "fingerprint": "f00d", "keep": 5, "offered": 12, "reject": 1, "rejected_by_pull": 2,
 "reuse": 0, "seconds": 0.5, "shards": ["s1", "s2"]}
"""
ENCODE = """
{"device": "cpu", "engine": "torch", "items": 7, "peak_rss_bytes": 1000, "seconds": 1.5}
"""
SPOT = """
{"checked": 16, "fault": "", "item": "a", "largest_angle": 1e-07, "limit": 0.001, "ok": true,
 "skipped": 1}
"""
CANARY = """
{"device": "cpu", "fault": "", "first": false, "largest_angle": 2e-07, "limit": 0.001,
 "ok": true, "probe": 3}
"""
VERDICT = """
{"gates": [{"limit": 12, "message": "m", "name": "ledger", "ok": true, "value": 12},
           {"limit": 0.2, "message": "n", "name": "drift", "ok": true, "value": null}],
 "ledger": {"absent": 2, "deleted": 1, "encoded": 4, "kept": 5, "offered": 12, "rejected": 3,
            "reused": 0},
 "rejects": ["1 bad_id"], "seconds": 0.75}
"""
PUBLISH = '{"release": 4, "seconds": 2.0}'
PROMOTE = '{"release": 4}'

EARLIER = [
    (
        RUN,
        RunNote(
            run="r", records=5, items=4, rejected=1, seconds=0.25,
            scope=Scope(ids=frozenset("ab")), retry_rejects=True, force=False,
        ),
    ),
    (
        PLAN,
        PlanSummary(
            base=3, fingerprint="f00d", offered=12, absent=2, shards=("s1", "s2"),
            rejected_by_pull=2, encode=4, reuse=0, keep=5, reject=1, delete=1,
            estimated_seconds=None, seconds=0.5,
        ),
    ),
    (
        ENCODE,
        EncodeNote(
            items=7, seconds=1.5, peak_rss_bytes=1000, device="cpu", engine="torch", spots=None
        ),
    ),
    (SPOT, SpotCheckResult(limit=1e-3, angle=1e-7, item="a", checked=16, skipped=1, crashed=0)),
    (
        CANARY,
        CanaryNote(
            ok=True, largest_angle=2e-7, limit=1e-3, probe=3, fault="", device="cpu", first=False
        ),
    ),
    (
        VERDICT,
        Verdict(
            ledger=Ledger(12, 4, 0, 5, 3, 1, 2),
            gates=(Gate("ledger", True, 12, 12, "m"), Gate("drift", True, None, 0.2, "n")),
            rejects=("1 bad_id",),
            seconds=0.75,
        ),
    ),
    (PUBLISH, PublishNote(release=4, seconds=2.0)),
    (PROMOTE, PromotionNote(release=4, promoted=False, seconds=None)),
]  # fmt: skip
"""What runs of earlier commits have left, without the keys that came later."""


@pytest.mark.parametrize(("text", "note"), EARLIER, ids=lambda value: type(value).__name__)
def test_the_file_of_an_earlier_commit_is_read(text: str, note: Any) -> None:
    document = json.loads(text)
    assert type(note).from_json(document) == note
    assert document.items() <= note.to_json().items(), "every key keeps its name and value"


@pytest.mark.parametrize("note", [note for _, note in EARLIER], ids=lambda n: type(n).__name__)
def test_a_note_is_read_as_it_was_written(note: Any) -> None:
    assert type(note).from_json(json.loads(json.dumps(note.to_json()))) == note


def test_what_the_spot_check_found_is_kept_with_the_shard() -> None:
    spots = SpotCheckResult(limit=1e-3, angle=0.5, item="a", checked=2, crashed=1)
    note = EncodeNote(
        items=7, seconds=1.5, peak_rss_bytes=1, device="cpu", engine="torch", spots=spots
    )
    document = json.loads(json.dumps(note.to_json()))
    assert document["spots"]["killed"] == 1
    assert not document["spots"]["ok"]
    assert EncodeNote.from_json(document) == note


def test_a_run_is_resumed_as_it_was_started(warehouse: Warehouse) -> None:
    collection = warehouse.collection([{"id": "a", "text": "x"}])
    work, _ = warehouse.planned(collection, "r", force=True, scope=Scope(ids=frozenset("ab")))
    note = work.run.read_note()
    assert (note.force, note.retry_rejects, note.scope) == (True, False, work.run.scope)
    assert work.run.as_started() == work.run
    file = warehouse.root / ".runs/things/r/run.json"
    assert file.read_text().startswith('{"run": "r", "records": ')


def test_several_notes_are_told_apart_by_their_keys(warehouse: Warehouse) -> None:
    work, _ = warehouse.planned(warehouse.collection([{"id": "a", "text": "x"}]), "r")
    assert work.read_notes(SpotCheckResult) == []
    notes = [SpotCheckResult(limit=1.0, item=item) for item in "ab"]
    for note in reversed(notes):
        work.write_note(note, note.item)
    assert work.read_notes(SpotCheckResult) == notes
    assert work.has("spot-a.json")
    assert Work(work.run, work.space).find_note(Verdict) is None


def test_what_is_printed_of_a_note_is_in_the_order_of_its_file() -> None:
    ledger = as_stored(Ledger(offered=1, kept=1).to_json())
    assert list(ledger) == sorted(ledger)
