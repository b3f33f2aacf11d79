"""What the tasks of a space do: stages of the run that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace_airflow.process import Answer, log, run_id_of, run_stage
from commonspace_airflow.scope import request_of_run, shards_per_task

Context = Mapping[str, Any]


@dataclass(frozen=True)
class Stages:
    """The stages of one space, in the run of the task that asks for one."""

    collection: Collection
    space: SpaceSection

    @property
    def name(self) -> str:
        return f"{self.space.name}/v{self.space.version}"

    def run(self, stage: str, *options: str) -> Answer:
        run_id = run_id_of(get_current_context())
        path = str(self.collection.path)
        return run_stage(stage, path, run_id, "--space", self.name, *options)

    def plan(self, context: Context) -> list[list[int]]:
        """The shards of each encode task; none in a dry run.

        Raises AirflowSkipException where the run is not of the space, or has nothing for it.
        """
        request = request_of_run(self.collection, context)
        if not request.takes(self.name):
            raise AirflowSkipException(f"the run is of {', '.join(request.spaces)} only")
        told = skip_if_empty(self.run("plan"))
        text = told.pop("text")
        _show(text)
        context["ti"].xcom_push("plan", told)
        context["ti"].xcom_push("text", text)
        return [] if request.dry_run else shards_per_task(told["shards"], told["estimated_seconds"])

    def end_a_dry_run(self, context: Context) -> None:
        """Raises AirflowSkipException in a dry run."""
        request = request_of_run(self.collection, context)
        if request.dry_run:
            how = "; with the param `force` at encode, it does" if request.force else ""
            raise AirflowSkipException(
                f"a dry run: the log of `plan` and its XComs say what it would do{how}"
            )

    def report(self, context: Context) -> Answer:
        told = self.run("report")
        text = told.pop("markdown")
        _show(text)
        context["ti"].xcom_push("markdown", text)
        return told


def _show(text: str) -> None:
    """A line of the log for each of the text: the page of Airflow keeps no others apart."""
    for line in text.splitlines():
        log.info(line)


def skip_if_empty(told: Answer) -> Answer:
    """The answer. Raises AirflowSkipException where it says that there is nothing to do."""
    if told.get("empty"):
        raise AirflowSkipException(told["empty"])
    return told


def skip_unless_moved(told: Answer) -> None:
    """Raises AirflowSkipException where readers see what they saw before."""
    if told.get("held"):
        raise AirflowSkipException(told["held"])
    if told.get("waits"):
        raise AirflowSkipException(
            f"release {told['release']} waits: "
            f"`commonspace promote {told['space']} {told['release']}`"
        )
    if not told["promoted"]:
        raise AirflowSkipException(f"nothing changed: release {told['release']} stays")
