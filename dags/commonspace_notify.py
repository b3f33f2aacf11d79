"""What people hear of: one POST to a webhook."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from airflow.sdk import BaseNotifier
from commonspace_tasks import log

VARIABLE = "COMMONSPACE_WEBHOOK"
CONNECTION = "commonspace_webhook"
SECONDS = 10


def told_of(context: Mapping[str, Any]) -> dict[str, Any]:
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
        post(told_of(context))


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
