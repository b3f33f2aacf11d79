"""What the tasks of a space do: execute the stages of their run, and skip what is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection, space_key
from commonspace_airflow.process import Answer, log, pipeline_run_id, run_stage
from commonspace_airflow.scope import read_request, shards_per_task

Context = Mapping[str, Any]


@dataclass(frozen=True)
class Stages:
    """The stages of one space, in the run of the task that executes one."""

    collection: Collection
    space: SpaceSection

    @property
    def name(self) -> str:
        return space_key(self.space)

    def run(self, stage: str, *options: str) -> Answer:
        """Execute a stage; raises as `run_stage` does."""
        run_id = pipeline_run_id(get_current_context())
        path = str(self.collection.path)
        return run_stage(stage, path, run_id, "--space", self.name, *options)

    def plan(self, context: Context) -> list[list[int]]:
        """The shards of each encode task; none in a dry run.

        Raises:
            AirflowSkipException: the run leaves the space out, or has nothing for it.
        """
        request = read_request(self.collection, context)
        if not request.includes(self.name):
            raise AirflowSkipException(f"the run is only of {', '.join(request.spaces)}")
        plan = skip_if_empty(self.run("plan"))
        text = plan.pop("text")
        _log_lines(text)
        context["ti"].xcom_push("plan", plan)
        context["ti"].xcom_push("text", text)
        return [] if request.dry_run else shards_per_task(plan["shards"], plan["estimated_seconds"])

    def skip_if_dry_run(self, context: Context) -> None:
        """Let the task continue unless the run is a dry run.

        Raises:
            AirflowSkipException: it is one.
        """
        request = read_request(self.collection, context)
        if request.dry_run:
            how = "; to do it, set the param `force` to encode" if request.force else ""
            raise AirflowSkipException(
                f"a dry run: the log and the XComs of `plan` say what it would do{how}"
            )

    def report(self, context: Context) -> Answer:
        """The run's report; its text for people is pushed as the XCom `markdown`."""
        report = self.run("report")
        text = report.pop("markdown")
        _log_lines(text)
        context["ti"].xcom_push("markdown", text)
        return report


def skip_if_empty(answer: Answer) -> Answer:
    """The answer of `pull` or `plan`.

    Raises:
        AirflowSkipException: it says that there is nothing to do.
    """
    if answer.get("empty"):
        raise AirflowSkipException(answer["empty"])
    return answer


def skip_unless_promoted(answer: Answer) -> None:
    """Nothing, for the answer of a promotion that changed what readers see.

    Raises:
        AirflowSkipException: readers see what they saw before.
    """
    if answer.get("held"):
        raise AirflowSkipException(answer["held"])
    if answer.get("waits"):
        raise AirflowSkipException(
            f"release {answer['release']} is a candidate; to promote it: "
            f"`commonspace promote {answer['space']} {answer['release']}`"
        )
    if not answer["promoted"]:
        raise AirflowSkipException(f"nothing changed: release {answer['release']} stays")


def _log_lines(text: str) -> None:
    """Log each line as a message of its own: Airflow's page would run them together."""
    for line in text.splitlines():
        log.info(line)
