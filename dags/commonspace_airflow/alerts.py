"""What people are notified of: tasks that fail, and runs that miss their deadline.

Both are one POST to a webhook.
"""

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

VARIABLE = "COMMONSPACE_WEBHOOK"
CONNECTION = "commonspace_webhook"
TIMEOUT = 10
"""Seconds that the webhook has to answer."""


class FailureNotifier(BaseNotifier):
    """Posts a failure to the address in COMMONSPACE_WEBHOOK, or, where that is not set,
    in the connection `commonspace_webhook` (its host is the address, its password a bearer token).

    Does nothing where there is neither. A webhook that does not answer is logged; the task's own
    failure stays what it was.
    """

    def notify(self, context: Any) -> None:
        post(failure_message(context))


on_failure = FailureNotifier()


def dag_deadline(collection: Collection) -> DeadlineAlert | None:
    """The `deadline` of a DAG: how long after it was queued a run is late; None where never."""
    allowed = collection.collection.deadline
    if allowed is None:
        return None
    return DeadlineAlert(
        DeadlineReference.DAGRUN_QUEUED_AT, allowed, AsyncCallback(notify_late_run)
    )


async def notify_late_run(context: Mapping[str, Any]) -> None:
    """Post that a run is late.

    Airflow stores this function's import path with every pending deadline.

    Args:
        context: what the triggerer gives to the callback of a deadline: `dag_run`, as the REST
            interface shows it, and `deadline`.
    """
    message = lateness_message(context)
    if message is not None:
        await asyncio.to_thread(post, message)


def lateness_message(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is posted of a late run: `text` for people, the rest for programs.

    None where nobody needs to know: the run ended in time; it failed, which was posted when it
    failed; or it belongs to a backfill, whose runs are all queued at its start and wait for one
    another.
    """
    run, due = context["dag_run"], _utc(context["deadline"]["deadline_time"])
    if run["state"] == "failed" or run["run_type"] == "backfill":
        return None
    ended = run.get("end_date")
    if ended is not None and _utc(ended) <= due:  # Airflow keeps the deadlines of some such runs
        return None
    name = str(run["dag_id"])
    name += f" ({run['partition_key']})" if run["partition_key"] else ""
    reason = f"it should have ended by {due:%Y-%m-%d %H:%M} UTC, and its state is {run['state']}"
    return {
        "text": f"{name} is late: {reason}",
        "reason": reason,
        "dag": run["dag_id"],
        "run": run["dag_run_id"],
        "partition": run["partition_key"],
        "deadline": due.isoformat(),
        "state": run["state"],
    }


def failure_message(context: Mapping[str, Any]) -> dict[str, Any]:
    """What is posted of a failed task: `text` for people, the rest for programs."""
    task, run = context["ti"], context["dag_run"]
    lines = str(context.get("exception") or "the task was stopped").splitlines()
    name = f"{task.dag_id}.{task.task_id}"
    name += f" ({run.partition_key})" if run.partition_key else ""
    return {
        "text": f"{name} failed: {lines[0]}",
        "reason": "\n".join(lines)[:2_000],
        "dag": task.dag_id,
        "task": task.task_id,
        "run": run.run_id,
        "partition": run.partition_key,
        "try": task.try_number,
        "log": task.log_url,
    }


def post(message: Mapping[str, Any]) -> None:
    """Post the message as JSON, where there is an address; see FailureNotifier."""
    address, token = _address_and_token()
    if not address:
        log.info("nobody is notified: %s is not set here", VARIABLE)
        return
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = json.dumps(message, default=str).encode()
    try:
        with urlopen(Request(address, data, headers), timeout=TIMEOUT):  # noqa: S310
            pass
    except (OSError, ValueError, HTTPException) as error:
        # Only the type: the error's message may hold the address, which is a secret.
        log.warning("the webhook could not be reached: %s", type(error).__name__)


def _utc(moment: datetime | str) -> datetime:
    parsed = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
    return parsed.astimezone(UTC)


def _address_and_token() -> tuple[str, str]:
    if address := os.environ.get(VARIABLE):
        return address, ""
    # Asked for only when something is posted: parsing a DAG must not need the database.
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = Connection.get(CONNECTION)
    except AirflowNotFoundException:
        return "", ""
    return _connection_url(connection) if connection.host else "", connection.password or ""


def _connection_url(connection: Any) -> str:
    if "://" in connection.host:
        return str(connection.host)
    port = f":{connection.port}" if connection.port else ""
    path = f"/{connection.schema}" if connection.schema else ""
    return f"https://{connection.host}{port}{path}"
