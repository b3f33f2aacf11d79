"""Promotion by hand, inside Airflow: a task that waits for a person.

Imported only for spaces that need it, so that parsing all other DAGs stays light.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException


class Approval(ApprovalOperator):
    """Asks a person only where a new release waits for one.

    publish_task: the id of the task whose answer says whether one does.
    """

    def __init__(self, *, publish_task: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.publish_task = publish_task

    def execute(self, context: Any) -> Any:
        answer = context["ti"].xcom_pull(task_ids=self.publish_task)
        if not answer["waits"]:
            raise AirflowSkipException(f"nothing changed: release {answer['release']} stays")
        return super().execute(context)


def approval_task(publish_task: str, within: timedelta | None) -> Approval:
    """A task that shows a release and asks whether readers may see it.

    Rejected, or not answered in time, the release stays a candidate that `commonspace promote`
    takes.

    Args:
        publish_task: the id of the task whose answer describes the release.
        within: how long a person has to answer.
    """
    answer = f"ti.xcom_pull(task_ids='{publish_task}')"
    return Approval(
        task_id="approve",
        publish_task=publish_task,
        subject=f"Promote {{{{ {answer}['space'] }}}} to release {{{{ {answer}['release'] }}}}?",
        body=f"{{{{ {answer}['text'] }}}}",
        defaults=ApprovalOperator.REJECT,
        response_timeout=within,
        doc_md="Waits for a person. Rejected or not answered in time, the release stays a "
        "candidate.",
    )
