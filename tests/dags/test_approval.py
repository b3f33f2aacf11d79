"""A run that waits for a person: approved over Airflow's own REST interface, rejected, ignored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import DAGS
from tests.support.collection_file import write_collection

Python = Callable[[str, dict[str, str]], Any]

# `dag.test()` leaves a task that awaits input to whoever shares its database.
RUN = """
import json, sys, time
from datetime import timedelta
from pathlib import Path
from threading import Thread
sys.path.insert(0, DAGS)
from airflow.dag_processing.dagbag import DagBag
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models.asset import AssetEvent
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select
from airflow.api_fastapi.app import create_app
from fastapi.testclient import TestClient
client = TestClient(create_app(), base_url="http://testserver")
client.headers["Authorization"] = "Bearer " + client.get("/auth/token").json()["access_token"]
asked, problems = [], []

def person(choice):
    try:
        for _ in range(600):
            with create_session() as session:
                waits = select(TaskInstance).where(TaskInstance.state == "awaiting_input")
                task = session.scalar(waits)
                where = task and (task.dag_id, task.run_id, task.task_id)
            if where:
                break
            time.sleep(0.2)
        path = "/api/v2/dags/%s/dagRuns/%s/taskInstances/%s/-1/hitlDetails" % where
        asked.append(client.get(path).raise_for_status().json())
        answer = {"chosen_options": [choice], "params_input": {}}
        client.patch(path, json=answer).raise_for_status()
    except BaseException as error:
        problems.append(repr(error))

def scheduler():
    # Whose loop looks for what nobody has answered in time.
    runner = SchedulerJobRunner(job=Job())
    for _ in range(240):
        runner.check_awaiting_input_timeouts()
        time.sleep(0.5)

answers = []
for choice, texts in RUNS:
    rows = [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)]
    Path(SOURCE).write_text("\\n".join(map(json.dumps, rows)))
    dag = DagBag(dag_folder=DAGS).dags["things"]
    if choice == "nothing":
        dag.get_task("text-v1.approve").response_timeout = timedelta(seconds=3)
        Thread(target=scheduler, daemon=True).start()
    elif choice:
        Thread(target=person, args=(choice,), daemon=True).start()
    run = dag.test()
    states = {t.task_id.split(".")[-1]: str(t.state) for t in run.get_task_instances()}
    with create_session() as session:
        found = session.scalars(select(XComModel).where(XComModel.run_id == run.run_id))
        xcoms = {f"{x.task_id}:{x.key}": x.value for x in found}
    answers.append({"state": str(run.state), "tasks": states, "xcoms": xcoms})
with create_session() as session:
    events = [e.extra for e in session.scalars(select(AssetEvent))]
told = [{"subject": one["subject"], "body": one["body"]} for one in asked]
print(json.dumps({"runs": answers, "events": events, "asked": told, "problems": problems}))
"""


@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_a_release_waits_for_a_person(
    airflow: dict[str, str], python: Python, tmp_path: Path
) -> None:
    write_collection(
        tmp_path,
        collection={"promote": "manual", "approve_within": "1h"},
        gates={"max_drift": 1.0},
    )
    first, second, third = ([f"text {n}" for n in range(*r)] for r in ((9,), (8,), (1, 9)))
    runs = [["Approve", first], [None, first], ["Reject", second], ["nothing", third]]
    names = f"DAGS, SOURCE, RUNS = {str(DAGS)!r}, {str(tmp_path / 'things.jsonl')!r}, {runs!r}\n"
    airflow["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] = "True"
    found = python(names + RUN, airflow)
    assert not found["problems"]
    approved, unchanged, rejected, unanswered = found["runs"]
    assert [run["state"] for run in found["runs"]] == ["success"] * 4
    assert approved["tasks"]["promote"] == "success"
    report = approved["xcoms"]["text-v1.report:return_value"]
    assert (report["state"], report["promoted"], report["release"]) == ("promoted", True, 1)
    assert report["seconds"]["index"] >= 0
    assert "release 1, promoted" in approved["xcoms"]["text-v1.report:markdown"]
    assert [(e["release"], e["rows"], e["promoted"]) for e in found["events"]] == [(1, 9, True)]
    subjects = [one["subject"] for one in found["asked"]]
    assert subjects == [f"Promote things/text/v1 to release {n}?" for n in (1, 2)]
    assert "**things/text/v1**: 9 rows" in found["asked"][0]["body"]
    assert {unchanged["tasks"][task] for task in ("approve", "promote")} == {"skipped"}
    assert unchanged["xcoms"]["text-v1.report:return_value"]["state"] == "unchanged"
    for run, release in ((rejected, 2), (unanswered, 3)):
        assert (run["tasks"]["approve"], run["tasks"]["promote"]) == ("success", "skipped")
        report = run["xcoms"]["text-v1.report:return_value"]
        assert (report["state"], report["release"]) == ("candidate", release)
    pointer = tmp_path / "warehouse/things/text/v1/CURRENT"
    assert json.loads(pointer.read_text())["release"] == 1, "readers see what they saw"
    command = [sys.executable, "-m", "commonspace", "promote", "things/text", "3"]
    subprocess.run(command, env=airflow, check=True, capture_output=True)
    assert json.loads(pointer.read_text())["release"] == 3, "the candidate stays"
