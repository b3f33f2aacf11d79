"""Runs that are late: who hears of them, told by a scheduler and a triggerer that really run."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from commonspace_airflow.alerts import dag_deadline, lateness_message, notify_late_run

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.errors import UserMistake
from tests.dags.listener import listening
from tests.support.checkout import DAGS
from tests.support.collection_file import write_collection


def load(folder: Path, **keys: str) -> Collection:
    """A collection of days, with these keys in `[collection]`."""
    days = {"schedule": "@daily", "partitions": "day", **keys}
    source = {"uri": "events/{partition}.jsonl"}
    return load_collection(write_collection(folder, name="events", source=source, collection=days))


def test_a_deadline_counts_from_when_a_run_was_queued(tmp_path: Path) -> None:
    found = dag_deadline(load(tmp_path, deadline="2h"))
    assert found is not None
    assert found.interval == timedelta(hours=2)
    assert found.reference.reference_name == "DagRunQueuedAtDeadline"
    assert found.callback.path == "commonspace_airflow.alerts.notify_late_run"
    assert dag_deadline(load(tmp_path)) is None


def test_a_deadline_that_was_pending_before_the_move_is_still_reported() -> None:
    """Airflow keeps the path of the callback in its database; 0.1.0 wrote this one."""
    assert import_module("commonspace_deadline").late is notify_late_run


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"deadline": "soon"}, 'such as "90m"'),
        ({"deadline": "0h"}, "deadline"),
        ({"deadline": "6h", "late_by": "6h"}, "must be longer than `late_by`"),
    ],
)
def test_a_deadline_that_cannot_be_meant_is_refused(
    tmp_path: Path, keys: dict[str, str], said: str
) -> None:
    with pytest.raises(UserMistake, match=said):
        load(tmp_path, **keys)


def context(**run: Any) -> dict[str, Any]:
    usual = {"dag_id": "events", "dag_run_id": "r", "partition_key": None, "run_type": "manual",
             "state": "running"}  # fmt: skip
    return {"dag_run": usual | run, "deadline": {"deadline_time": "2026-11-20T02:00:00+00:00"}}


def test_what_is_late_comes_first() -> None:
    reported = lateness_message(context(partition_key="2026-11-19"))
    assert reported is not None
    assert reported["text"].startswith("events (2026-11-19) is late: ")
    assert "2026-11-20 02:00 UTC" in reported["text"]
    assert reported["deadline"] == "2026-11-20T02:00:00+00:00"
    east = context()
    east["deadline"]["deadline_time"] = "2026-11-20T04:00:00+02:00"
    elsewhere = lateness_message(east)
    assert elsewhere is not None
    assert "2026-11-20 02:00 UTC" in elsewhere["text"]
    whole = lateness_message(context(state="queued"))
    assert whole is not None
    assert whole["text"].startswith("events is late: ")
    assert whole["text"].endswith("its state is queued")


def test_nobody_hears_of_a_failure_twice_or_of_a_backfill_that_waits() -> None:
    assert lateness_message(context(state="failed")) is None
    assert lateness_message(context(run_type="backfill")) is None
    assert lateness_message(context(state="success")) is not None, "it ended late"


@pytest.mark.parametrize(
    ("ended", "reported"),
    [
        (None, True),
        ("2026-11-20T01:59:59+00:00", False),
        ("2026-11-20T03:59:59+02:00", False),
        ("2026-11-20T02:00:01+00:00", True),
    ],
)
def test_a_run_that_ended_in_time_is_not_late(ended: str | None, reported: bool) -> None:
    """Somebody may have marked it: then Airflow keeps its deadline."""
    assert (lateness_message(context(state="success", end_date=ended)) is not None) == reported


PREPARE = """
import json, sys
from datetime import UTC, datetime, timedelta
from airflow.models import Connection
from airflow.models.deadline import Deadline
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select
from airflow.__main__ import main
sys.argv = ["airflow", "dags", "reserialize"]
main()
with create_session() as session:
    session.add(Connection("commonspace_webhook", "http", host=ADDRESS, password="secret"))
    dag = SerializedDagModel.get_dag("events", session=session)
    for kind, day in ((DagRunType.BACKFILL_JOB, 18), (DagRunType.SCHEDULED, 19)):
        dag.create_dagrun(
            run_id=f"{kind}-{day}", run_after=datetime.now(UTC), run_type=kind, state="queued",
            triggered_by=DagRunTriggeredByType.TEST, partition_key=f"2026-11-{day}",
            partition_date=datetime(2026, 11, day, tzinfo=UTC), session=session)
    session.flush()
    left = []
    for deadline in session.scalars(select(Deadline)):
        left.append((deadline.deadline_time - datetime.now(UTC)).total_seconds())
        deadline.deadline_time -= timedelta(hours=2, minutes=1)  # as if that much time had passed
print(json.dumps(left))
"""


def callbacks(database: Path) -> list[str]:
    """The state of each callback."""
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        return [state for (state,) in connection.execute("select state from callback")]


@contextmanager
def component(name: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """One of Airflow's, while the block lasts."""
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", name, "--skip-serve-logs"],
            env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.airflow
def test_a_scheduler_and_a_triggerer_tell_the_webhook(
    airflow: dict[str, str], python: Callable[[str, dict[str, str]], Any], tmp_path: Path
) -> None:
    load(tmp_path, deadline="2h")
    airflow["PYTHONPATH"] = str(DAGS)
    with listening() as webhook:
        left = python(f"ADDRESS = {webhook.address!r}\n{PREPARE}", airflow)
        assert left == [pytest.approx(7200, abs=60)] * 2
        log = tmp_path / "triggerer.log"
        with (
            component("scheduler", airflow, tmp_path / "scheduler.log"),
            component("triggerer", airflow, log),
        ):
            limit = time.monotonic() + 120
            while callbacks(tmp_path / "airflow/airflow.db") != ["success", "success"]:
                assert time.monotonic() < limit, log.read_text()[-3000:]
                time.sleep(0.5)
        (reported,) = webhook.heard
    assert reported["text"].startswith("events (2026-11-19) is late: it should have ended by ")
    assert (reported["run"], reported["state"]) == ("scheduled-19", "queued")
    assert "secret" not in log.read_text()
