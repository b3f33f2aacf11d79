"""Promotion by hand, inside Airflow: a task that waits for a person."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection


def awaits_approval(collection: Collection, space: SpaceSection) -> bool:
    """Whether a run waits for a person to promote the space's release."""
    return not collection.promotes(space) and collection.collection.approve_within is not None


def approval(collection: Collection, publish: str) -> Any:
    """A task that shows the release and asks whether readers may see it.

    publish: the id of the task whose answer says which release that is. Rejected, or not
    answered in time, the release stays a candidate that `commonspace promote` takes.
    """
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    class Approval(ApprovalOperator):
        """Asks only where a new release waits."""

        def execute(self, context: Any) -> Any:
            told = context["ti"].xcom_pull(task_ids=publish)
            if not told["waits"]:
                raise AirflowSkipException(f"nothing changed: release {told['release']} stays")
            return super().execute(context)

    told = f"ti.xcom_pull(task_ids='{publish}')"
    return Approval(
        task_id="approve",
        subject=f"Promote {{{{ {told}['space'] }}}} to release {{{{ {told}['release'] }}}}?",
        body=f"{{{{ {told}['text'] }}}}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=collection.collection.approve_within,
        doc_md="Waits for a person. Rejected or unanswered, the release stays a candidate.",
    )
