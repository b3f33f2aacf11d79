"""The task group of one space of a collection.

plan -> encode (mapped over shards) -> validate -> publish (-> approve) -> promote -> report
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import Asset, Metadata, get_current_context, task, task_group

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace_airflow.process import Answer
from commonspace_airflow.retries import RETRIES
from commonspace_airflow.schedule import space_asset
from commonspace_airflow.stages import Stages, skip_unless_promoted
from commonspace_airflow.telemetry import emit_lineage, emit_metrics

UNLESS_ALL_SKIPPED = "none_failed_min_one_success"
"""Runs a task although one before it was skipped, having nothing to do; not where all were."""

SHARDS = "shards {{ task.op_kwargs['shards'][0] }} to {{ task.op_kwargs['shards'][1] - 1 }}"
"""The label of an encode task: the numbers of its first and its last shard."""


def space_group(collection: Collection, space: SpaceSection) -> Any:
    """The task group of a space, with its tasks in order."""
    stages, asset = Stages(collection, space), space_asset(collection, space)
    group_id, needs_approval = f"{space.name}-v{space.version}", _needs_approval(collection, space)
    placement: Any = {"pool": collection.run.pool}
    if collection.run.queue:
        placement["queue"] = collection.run.queue

    @task_group(group_id=group_id)
    def group() -> None:
        @task
        def plan() -> list[list[int]]:
            """Decide which items to encode, and divide them among encode tasks.

            The log and the XComs `plan` and `text` say what will be done, and at what cost. In a
            dry run that is all: nothing after it runs.
            """
            return stages.plan(get_current_context())

        @task(
            multiple_outputs=False,
            retries=RETRIES["retries"] + 1,  # by then an item that crashes every worker is a reject
            map_index_template=SHARDS,
            doc_md="Turn items into vectors, shard by shard. No finished shard is encoded twice.",
            **placement,
        )
        def encode(shards: list[int]) -> Answer:
            options = (("--shard", str(number)) for number in range(*shards))
            return stages.run("encode", *(word for option in options for word in option))

        @task(multiple_outputs=False, trigger_rule=UNLESS_ALL_SKIPPED)
        def validate() -> Answer:
            """Check the ledger and the gates before anything is visible."""
            stages.skip_if_dry_run(get_current_context())
            return stages.run("validate")

        @task(multiple_outputs=False)
        def publish() -> Answer:
            """Write the next release beside the current one, as a candidate."""
            return stages.run("publish")

        @task(multiple_outputs=False, outlets=[asset])
        def promote() -> Iterator[Metadata]:
            """Update the LanceDB table, then let readers see the release.

            Skipped where nothing changed, and where the space waits for a person.
            """
            promotion = stages.run("approved" if needs_approval else "promote")
            skip_unless_promoted(promotion)
            emit_lineage(collection, promotion)
            yield _asset_event(asset, promotion, get_current_context())

        @task(multiple_outputs=False, trigger_rule=UNLESS_ALL_SKIPPED)
        def report() -> Answer:
            """Report the ledger, the gates, the rejects and the time each stage took.

            The XCom `markdown` is the report for people; it is also kept beside the run's
            report.json.
            """
            answer = stages.report(get_current_context())
            emit_metrics(answer)
            return answer

        planned, validated, published = plan(), validate(), publish()
        planned >> encode.expand(shards=planned) >> validated
        planned >> validated >> published >> (reported := report())
        last: Any = published
        if needs_approval:
            published >> (last := _approval(collection, f"{group_id}.publish"))
        last >> promote() >> reported

    return group()


def _needs_approval(collection: Collection, space: SpaceSection) -> bool:
    """Whether a run waits for a person to promote the space's release."""
    return not collection.promotes(space) and collection.collection.approve_within is not None


def _approval(collection: Collection, publish_task: str) -> Any:
    from commonspace_airflow.approval import approval_task  # see its docstring

    return approval_task(publish_task, collection.collection.approve_within)


def _asset_event(asset: Asset, promotion: Answer, context: Mapping[str, Any]) -> Metadata:
    """The event of a promotion, with the partition that the run processed.

    A run that was given a partition by its params has no partition key of its own. Without one,
    the event would reach no consumer that is scheduled by partition.
    """
    if promotion["partition"] and context["dag_run"].partition_key is None:
        context["outlet_events"][asset].add_partitions(promotion["partition"])
    return Metadata(asset, extra=promotion)
