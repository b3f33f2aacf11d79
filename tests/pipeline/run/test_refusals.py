"""What a refused run leaves for the person who is woken by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.run.process import run_stage
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.cleanup import remove_old_runs
from commonspace.pipeline.workspace.work import Run


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"i{n:03}", "text": f"text of item {n}"} for n in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "warehouse")


def go(collection: Any, store: LocalStore) -> dict[str, Any]:
    run = Run(new_run_id(), collection, store, quiet=True)
    return run_collection(run, list(collection.space), log=lambda _: None)[0]


def kept(store: LocalStore, run: str) -> dict[str, Any]:
    data = store.read(f".runs/things/{run}/text-v1/refusal.json")
    assert data is not None
    return dict(json.loads(data.to_pybytes()))


def test_a_refused_report_has_what_was_measured(make_collection: Any, store: LocalStore) -> None:
    go(make_collection(rows(100)), store)
    report = go(make_collection(rows(60)), store)
    assert report["error"] == "GateRefused"
    gates = {gate["name"]: gate for gate in report["gates"]}
    assert (gates["deleted_share"]["value"], gates["deleted_share"]["ok"]) == (0.4, False)
    assert gates["deleted_share"]["limit"] < 0.4
    assert gates["ledger"]["ok"]
    assert (report["ledger"]["deleted"], report["ledger"]["kept"]) == (40, 60)
    assert kept(store, report["run"]) == report
    assert "gate deleted_share refused" in report["what"]


def test_a_refused_task_leaves_its_report(make_collection: Any, store: LocalStore) -> None:
    collection = make_collection([{"id": "a", "text": "a"}, {"id": "b", "text": ""}])
    run_stage("pull", collection, store, "a", None, None, ())
    for stage in ("plan", "encode"):
        run_stage(stage, collection, store, "a", "text/v1", None, (0,))
    with pytest.raises(GateRefused) as refusal:
        run_stage("validate", collection, store, "a", "text/v1", None, ())
    report = kept(store, "a")
    assert report["gates"] == refusal.value.to_json()["gates"]
    assert {g["name"]: g["value"] for g in report["gates"]}["reject_share"] == 0.5
    assert report["ledger"]["rejected"] == 1
    run_stage("plan", make_collection(rows(1)), store, "a", "text/v1", None, ())
    assert store.read(".runs/things/a/text-v1/refusal.json") is None  # of an earlier try


def test_refused_runs_are_forgotten_as_others_are(
    make_collection: Any, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while they may be tried again, however many have ended since."""
    monkeypatch.setattr("commonspace.pipeline.workspace.cleanup.RUNS_KEPT", 2)
    go(make_collection(rows(10)), store)
    few = make_collection(rows(2))
    refused = [go(few, store)["run"] for _ in range(3)]
    remove_old_runs(Run("now", few, store))
    assert set(refused) <= set(store.folders(".runs/things"))
    monkeypatch.setattr("commonspace.pipeline.workspace.cleanup.DAY", -1.0)
    monkeypatch.setattr("commonspace.pipeline.workspace.cleanup.DAYS_KEPT", -1e6)
    remove_old_runs(Run("now", few, store))
    assert set(store.folders(".runs/things")) <= {refused[-1], "shards"}
