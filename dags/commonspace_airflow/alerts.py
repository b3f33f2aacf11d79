"""What people hear of: one POST to a webhook."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from commonspace.pipeline.config.collection import Collection
from commonspace_airflow.process import log


def deadline_of(collection: Collection) -> DeadlineAlert | None:
    """What Airflow is told as `deadline`: so long after a run was queued, it is late."""
    within = collection.collection.deadline
    if within is None:
        return None
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, within, AsyncCallback(late))


async def late(context: Mapping[str, Any]) -> None:
    """Tells the webhook of a run that is late.

    context: what the scheduler gives to a callback of a deadline: the run, as the REST interface
    shows it, and the deadline.
    """
    told = lateness_message(context)
    if told is not None:
        await asyncio.to_thread(post, told)


def lateness_message(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is posted: `text` for people, the rest for programs; None where nobody needs to hear.

    A run that has ended in time is not late. The failure of a run was told when it failed. A
    backfill's runs are all queued at its beginning and wait for one another.
    """
    run, moment = context["dag_run"], context["deadline"]["deadline_time"]
    if run["state"] == "failed" or run["run_type"] == "backfill":
        return None
    due, ended = _utc(moment), run.get("end_date")
    if ended is not None and _utc(ended) <= due:  # Airflow keeps the deadlines of some such runs
        return None
    where = str(run["dag_id"])
    where += f" ({run['partition_key']})" if run["partition_key"] else ""
    reason = f"it should have ended by {due:%Y-%m-%d %H:%M} UTC, and its state is {run['state']}"
    return {
        "text": f"{where} is late: {reason}",
        "reason": reason,
        "dag": run["dag_id"],
        "run": run["dag_run_id"],
        "partition": run["partition_key"],
        "deadline": due.isoformat(),
        "state": run["state"],
    }


def _utc(moment: datetime | str) -> datetime:
    whole = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    return whole.astimezone(UTC)


VARIABLE = "COMMONSPACE_WEBHOOK"
CONNECTION = "commonspace_webhook"
SECONDS = 10


def failure_message(context: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted: `text` for people, the rest for programs. Both begin with the reason."""
    task, run = context["ti"], context["dag_run"]
    lines = str(context.get("exception") or "the task was stopped").splitlines()
    where = f"{task.dag_id}.{task.task_id}"
    where += f" ({run.partition_key})" if run.partition_key else ""
    return {
        "text": f"{where} failed: {lines[0]}",
        "reason": "\n".join(lines)[:2_000],
        "dag": task.dag_id,
        "task": task.task_id,
        "run": run.run_id,
        "partition": run.partition_key,
        "try": task.try_number,
        "log": task.log_url,
    }


class Webhook(BaseNotifier):
    """Posts a failure to the address in COMMONSPACE_WEBHOOK, or, where that is not set,
    in the connection `commonspace_webhook` (its host is the address, its password a bearer token).

    Does nothing where there is neither. A webhook that does not answer is logged; the task's own
    failure stays what it was.
    """

    def notify(self, context: Any) -> None:
        post(failure_message(context))


on_failure = Webhook()


def post(told: Mapping[str, Any]) -> None:
    """Posts it as JSON, where there is an address; see Webhook."""
    address, token = _address()
    if not address:
        log.info("nobody is told: %s is not set where this runs", VARIABLE)
        return
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = json.dumps(told, default=str).encode()
    try:
        with urlopen(Request(address, data, headers), timeout=SECONDS):  # noqa: S310
            pass
    except (OSError, ValueError, HTTPException) as error:
        # Its message may hold the address, and that is a secret.
        log.warning("the webhook was not told: %s", type(error).__name__)


def _address() -> tuple[str, str]:
    if address := os.environ.get(VARIABLE):
        return address, ""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found = Connection.get(CONNECTION)
    except AirflowNotFoundException:
        return "", ""
    return _url(found) if found.host else "", found.password or ""


def _url(found: Any) -> str:
    if "://" in found.host:
        return str(found.host)
    port = f":{found.port}" if found.port else ""
    path = f"/{found.schema}" if found.schema else ""
    return f"https://{found.host}{port}{path}"
