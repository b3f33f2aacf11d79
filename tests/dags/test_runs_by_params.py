"""Whole runs of a partitioned collection, asked for by params; and what people hear of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dags.listener import Listener, listening
from tests.support.checkout import DAGS
from tests.support.collection_file import TEXT_SPACE, jsonl, write_collection

Python = Callable[[str, dict[str, str]], Any]
ODD_ID = " {}\r\n7\r"
TITLE_SPACE = {"name": "title", "encoder": "hashed/64", "fields": ["title"]}

RUN = """
import json, sys
sys.path.insert(0, DAGS)
from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select
answers = []
for conf in CONFS:
    run = DagBag(dag_folder=DAGS).dags["events"].test(run_conf=conf)
    states = {t.task_id: str(t.state) for t in run.get_task_instances()}
    with create_session() as session:
        found = session.scalars(select(XComModel).where(XComModel.run_id == run.run_id))
        xcoms = {f"{x.task_id}:{x.key}": x.value for x in found}
    answers.append({"state": str(run.state), "tasks": states, "xcoms": xcoms})
with create_session() as session:
    events = [[e.partition_key, e.extra] for e in session.scalars(select(AssetEvent))]
print(json.dumps({"runs": answers, "events": events}))
"""


def code(*confs: dict[str, Any]) -> str:
    return f"DAGS, CONFS = {str(DAGS)!r}, {list(confs)!r}\n{RUN}"


@pytest.fixture
def days(tmp_path: Path) -> None:
    files = {}
    for day in ("2026-11-18", "2026-11-19"):
        rows = [
            {"id": f"{day}-{n}", "text": f"text {n} of {day}", "title": f"title {n} on {day}"}
            for n in range(25)
        ]
        rows[7]["id"] = ODD_ID.format(day)
        files[f"events/{day}.jsonl"] = jsonl(rows)
    write_collection(
        tmp_path, name="events", files=files, source={"uri": "events/{partition}.jsonl"},
        spaces=[TEXT_SPACE, TITLE_SPACE],
        collection={"schedule": "@daily", "partitions": "day"},
        gates={"max_drift": 1.0}, run={"shard_rows": 10},
    )  # fmt: skip


@pytest.mark.airflow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("days")
def test_runs_take_what_their_params_say(
    airflow: dict[str, str], python: Python, tmp_path: Path
) -> None:
    found = python(
        code(
            {"partition": "2026-11-19", "dry_run": True},
            {"partition": "2026-11-19"},
            {"partition": "2026-11-18", "spaces": ["text/v1"]},
            {"ids": ["2026-11-19-3", ODD_ID.format("2026-11-19")]},
            {"partition": "2026-12-25"},
            {"partition": "2026-11-18", "spaces": ["text/v1"], "force": "plan"},
            {"partition": "2026-11-18", "spaces": ["text/v1"], "force": "encode"},
        ),
        airflow,
    )
    dry, whole, one_space, ids, empty, cost, forced = found["runs"]
    assert [run["state"] for run in found["runs"]] == ["success"] * 7
    assert dry["tasks"]["text-v1.plan"] == "success"
    assert {dry["tasks"][f"text-v1.{t}"] for t in ("encode", "publish", "report")} == {"skipped"}
    assert "| 25 | 0 | 0 | 0 | 0 |" in " ".join(dry["xcoms"]["text-v1.plan:text"].split())
    assert whole["tasks"]["title-v1.promote"] == "success"
    report = whole["xcoms"]["text-v1.report:markdown"]
    assert "# events/text/v1: release 1, promoted" in report
    assert "| ledger | passed |" in " ".join(report.split())
    assert any(tmp_path.glob("warehouse/.runs/events/*/text-v1/report.md"))
    assert one_space["tasks"]["text-v1.promote"] == "success"
    assert one_space["tasks"]["title-v1.report"] == "skipped"
    assert ids["tasks"]["text-v1.promote"] == "skipped", "nothing changed"
    ledger = ids["xcoms"]["text-v1.report:return_value"]["ledger"]
    assert (ledger["kept"], ledger["offered"]) == (2, 2)
    assert set(empty["tasks"].values()) == {"skipped"}
    assert cost["tasks"]["text-v1.encode"] == "skipped"
    said = cost["xcoms"]["text-v1.plan:text"]
    assert "| 25 | 0 | 0 | 0 | 0 |" in " ".join(said.split())
    assert "Encoding: about 0 s, in" in said
    assert "What is published is encoded again (`force`)." in said
    ledger = forced["xcoms"]["text-v1.report:return_value"]["ledger"]
    assert (ledger["encoded"], ledger["offered"]) == (25, 25)
    assert all(len(json.dumps(x)) < 10_000 for run in found["runs"] for x in run["xcoms"].values())
    reported = [(key, e["space"], e["release"], e["rows"]) for key, e in found["events"]]
    assert sorted(reported) == [
        ("2026-11-18", "events/text/v1", 2, 50),
        ("2026-11-18", "events/text/v1", 3, 50),
        ("2026-11-19", "events/text/v1", 1, 25),
        ("2026-11-19", "events/title/v1", 1, 25),
    ]


@pytest.fixture
def webhook() -> Iterator[Listener]:
    with listening() as server:
        yield server


@pytest.mark.airflow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("days")
def test_a_refused_gate_is_heard_of(
    airflow: dict[str, str], python: Python, tmp_path: Path, webhook: Listener
) -> None:
    with (tmp_path / "events/2026-11-19.jsonl").open("a") as file:
        file.writelines(f'\n{{"id": "bad{n}", "text": " ", "title": "t{n}"}}' for n in range(20))
    airflow["COMMONSPACE_WEBHOOK"] = webhook.address
    found = python(code({"partition": "2026-11-19"}, {"ids": ["a"], "only_rejects": True}), airflow)
    assert [run["state"] for run in found["runs"]] == ["failed", "failed"]
    gate, mistake = webhook.heard
    assert gate["task"] == "text-v1.validate"
    assert gate["text"].startswith("events.text-v1.validate failed: ")
    assert "gate reject_share refused: 20 of 45" in gate["text"]
    assert "max_reject_share" in gate["reason"]
    assert mistake["task"] == "pull"
    assert "exclude each other" in mistake["text"]
