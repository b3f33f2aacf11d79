"""How a run's work on a space ended: what is stored of it, and what people are shown."""

from __future__ import annotations

from dataclasses import replace

from commonspace.pipeline.run.announcement import Announcement
from commonspace.pipeline.run.markdown import plan_text, release_text, report_text
from commonspace.pipeline.run.notes import Refusal, RunReport
from commonspace.pipeline.workspace.notes import PlanSummary

LEDGER = {
    "offered": 3, "encoded": 1, "reused": 0, "kept": 1, "rejected": 1, "deleted": 0, "absent": 0,
}  # fmt: skip
GATE = {"name": "reject_share", "ok": False, "value": 0.5, "limit": 0.01, "message": "1 | 2 items"}
REPORT = {
    "collection": "things", "space": "text", "version": 1, "encoder": "hashed/64",
    "trained": False, "fingerprint": "ab", "run": "a", "whole_scope": True, "release": 2,
    "rows": 2, "promoted": True, "state": "promoted", "held": None, "ledger": LEDGER,
    "rejects_by_reason": {"empty": 1}, "rejects": "things/text/v1/rejects/ab.parquet",
    "gates": [{**GATE, "ok": True}], "items_per_second": 2.0,
    "seconds": {"pull": 0.1, "plan": 0.2, "encode": 0.5, "validate": 0.1, "publish": 0.1,
                "index": None},
    "shards": {"planned": 1, "encoded": 1}, "device": "cpu", "engine": "numpy",
    "peak_rss_bytes": 1, "notices": [],
}  # fmt: skip
REFUSAL = {
    "collection": "things", "space": "text", "version": 1, "run": "a", "error": "GateRefused",
    "what": "things/text/v1: gate reject_share refused", "item": "things/text/v1", "retry": False,
    "do": "Nothing was published.", "gates": [GATE], "ledger": LEDGER,
}  # fmt: skip
PLAN = PlanSummary(
    base=0, fingerprint="ab", offered=3, absent=0, shards=("a", "b"), rejected_by_pull=1,
    encode=1200, reuse=0, keep=0, reject=2, delete=0, estimated_seconds=None, seconds=0.1,
)  # fmt: skip
ANNOUNCEMENT = Announcement(
    space="things/text/v1", promoted=False, release=2, rows=2, partition=None, fingerprint="ab",
    encoder="hashed/64", ledger=LEDGER, manifest="things/text/v1/releases/000002.json",
)  # fmt: skip


def test_a_stored_report_is_read_back() -> None:
    report = RunReport.from_json(REPORT)
    assert report.to_json() == REPORT
    assert list(report.to_json()) == list(REPORT), "`--json` keeps its order"


def test_a_stored_refusal_is_read_back() -> None:
    assert Refusal.from_json(REFUSAL).to_json() == REFUSAL
    assert list(Refusal.from_json(REFUSAL).to_json()) == list(REFUSAL)


def test_only_a_gate_tells_its_gates() -> None:
    error = {key: value for key, value in REFUSAL.items() if key not in ("gates", "ledger")}
    assert Refusal.from_json(error).to_json() == error
    assert Refusal.from_json({**error, "gates": []}).to_json() == {
        **error, "gates": [], "ledger": None,
    }  # fmt: skip


def test_a_plan_before_the_first_run_has_no_estimate() -> None:
    text = plan_text("things/text/v1", PLAN, force=False)
    assert "**things/text/v1**, from release none" in text
    assert "| 1,200  | 0     | 0    | 3      | 0 |" in text
    assert text.endswith("Encoding: not known before the first run, in 2 shards.")
    assert "encoded again" in plan_text("things/text/v1", PLAN, force=True)


def test_an_estimate_is_read_at_a_glance() -> None:
    spoken = {60.0: "about 60 s", 600.0: "about 10 min", 36_000.0: "about 10.0 h"}
    for seconds, words in spoken.items():
        plan = replace(PLAN, estimated_seconds=seconds)
        assert f"Encoding: {words}, in" in plan_text("things/text/v1", plan, force=False)


def test_who_approves_is_warned_of_a_hold() -> None:
    assert "hold" not in release_text(ANNOUNCEMENT, None)
    text = release_text(ANNOUNCEMENT, "held since 2026-01-01 00:00 UTC by a rollback")
    assert "**The space is held since 2026-01-01 00:00 UTC by a rollback.** Approving" in text


def test_a_report_says_which_gates_passed() -> None:
    report = RunReport.from_json({**REPORT, "gates": [GATE, {**GATE, "name": "b", "ok": True}]})
    lines = report_text(report).splitlines()
    gates = [line.split("|") for line in lines if line.startswith(("| reject_share", "| b "))]
    assert [cells[2].strip() for cells in gates] == ["**refused**", "passed"]
    assert "1 \\| 2 items" in report_text(report), "a bar would end the cell"
