"""A run that is late, while there is still time to mend it: one POST to the webhook.

The triggerer executes it, beside the workers: that they are busy or gone is why runs are late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from commonspace_notify import post

from pipeline.config import Collection


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
    told = late_of(context)
    if told is not None:
        await asyncio.to_thread(post, told)


def late_of(context: Mapping[str, Any]) -> dict[str, Any] | None:
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
