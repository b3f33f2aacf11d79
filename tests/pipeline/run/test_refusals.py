"""What a refused run leaves for the person who is woken by it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from tests.support.warehouse import Warehouse, numbered_items


def kept(warehouse: Warehouse, run: str) -> dict[str, Any]:
    data = warehouse.store.read(f".runs/things/{run}/text-v1/refusal.json")
    assert data is not None
    return dict(json.loads(data.to_pybytes()))


def test_a_refused_report_has_what_was_measured(warehouse: Warehouse) -> None:
    warehouse.run(numbered_items(100))
    report = warehouse.run(numbered_items(60))
    assert report["error"] == "GateRefused"
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert (gates["deleted_share"]["value"], gates["deleted_share"]["ok"]) == (0.4, False)
    assert gates["deleted_share"]["limit"] < 0.4
    assert gates["ledger"]["ok"]
    assert (report["ledger"]["deleted"], report["ledger"]["kept"]) == (40, 60)
    assert kept(warehouse, report["run"]) == report
    assert "gate deleted_share refused" in report["what"]


def test_a_refused_task_leaves_its_report(warehouse: Warehouse) -> None:
    collection = warehouse.collection([{"id": "a", "text": "a"}, {"id": "b", "text": " "}])
    run_stage("pull", collection, warehouse.store, "a")
    for stage in ("plan", "encode"):
        run_stage(stage, collection, warehouse.store, "a", space="text/v1", shards=(0,))
    with pytest.raises(GateRefused) as refusal:
        run_stage("validate", collection, warehouse.store, "a", space="text/v1")
    report = kept(warehouse, "a")
    assert report["gates"] == refusal.value.to_json()["gates"]
    assert {g["name"]: g["value"] for g in report["gates"]}["reject_share"] == 0.5
    assert report["ledger"]["rejected"] == 1
    single = warehouse.collection(numbered_items(1))
    run_stage("plan", single, warehouse.store, "a", space="text/v1")
    assert warehouse.store.read(".runs/things/a/text-v1/refusal.json") is None  # of an earlier try


def test_refused_runs_are_forgotten_as_others_are(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while they may be tried again, however many have ended since."""
    monkeypatch.setattr("commonspace.pipeline.workspace.cleanup.RUNS_KEPT", 2)
    warehouse.run(numbered_items(10))
    few = warehouse.collection(numbered_items(2))
    refused = [warehouse.run(few)["run"] for _ in range(3)]
    remove_old_runs(warehouse.work(few).run)
    assert set(refused) <= set(warehouse.store.folders(".runs/things"))
    monkeypatch.setattr("commonspace.pipeline.workspace.cleanup.DAY", -1.0)
    monkeypatch.setattr("commonspace.pipeline.workspace.cleanup.DAYS_KEPT", -1e6)
    remove_old_runs(warehouse.work(few).run)
    assert set(warehouse.store.folders(".runs/things")) <= {refused[-1], "shards"}
