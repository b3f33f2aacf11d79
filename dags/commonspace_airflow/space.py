"""The tasks of one space of a collection.

plan -> encode (mapped over shards) -> validate -> publish (-> approve) -> promote -> report
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from airflow.sdk import Asset, Metadata, get_current_context, task, task_group

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace_airflow.approval import approval, awaits_approval
from commonspace_airflow.process import Answer
from commonspace_airflow.retries import RETRIES
from commonspace_airflow.schedule import space_asset
from commonspace_airflow.stages import Stages, skip_unless_moved
from commonspace_airflow.telemetry import count, emit_lineage

WHERE_THERE_IS_WORK = "none_failed_min_one_success"
"""Runs a task although one before it was skipped for want of work, but not where all were."""


def space_group(collection: Collection, space: SpaceSection) -> Any:
    """The task group of a space, wired."""
    stages, asset = Stages(collection, space), space_asset(collection, space)
    group_id, by_hand = f"{space.name}-v{space.version}", awaits_approval(collection, space)
    where: Any = {"pool": collection.run.pool}
    if collection.run.queue:
        where["queue"] = collection.run.queue

    @task_group(group_id=group_id)
    def group() -> None:
        @task
        def plan() -> list[list[int]]:
            """Which items the space is missing; the answer deals the shards to encode.

            Its log and the XComs `plan` and `text` say what would be done and cost. In a dry
            run that is all: nothing after it runs.
            """
            return stages.plan(get_current_context())

        @task(
            multiple_outputs=False,
            retries=RETRIES["retries"] + 1,  # what kills one machine after the other, ends
            map_index_template="from shard {{ task.op_kwargs['shards'] | join(' to before ') }}",
            doc_md="Turn shards of items into vectors; a finished shard is never made twice.",
            **where,
        )
        def encode(shards: list[int]) -> Answer:
            return stages.run("encode", *(o for n in range(*shards) for o in ("--shard", str(n))))

        @task(multiple_outputs=False, trigger_rule=WHERE_THERE_IS_WORK)
        def validate() -> Answer:
            """Balance the ledger and hold the gates, before anything is visible."""
            stages.end_a_dry_run(get_current_context())
            return stages.run("validate")

        @task(multiple_outputs=False)
        def publish() -> Answer:
            """Write the next release beside the current one."""
            return stages.run("publish")

        @task(multiple_outputs=False, outlets=[asset])
        def promote() -> Iterator[Metadata]:
            """Bring LanceDB to the release and move CURRENT.

            Skipped where nothing changed, and where the space waits for a person.
            """
            told = stages.run("approved" if by_hand else "promote")
            skip_unless_moved(told)
            emit_lineage(collection, told)
            yield _announced(asset, told, get_current_context())

        @task(multiple_outputs=False, trigger_rule=WHERE_THERE_IS_WORK)
        def report() -> Answer:
            """The ledger, the gates, the rejects and the time it took.

            The XCom `markdown` is the report for people; it lies beside the run's report.json.
            """
            told = stages.report(get_current_context())
            count(told)
            return told

        planned, validated, published = plan(), validate(), publish()
        planned >> encode.expand(shards=planned) >> validated
        planned >> validated >> published >> (reported := report())
        last: Any = published
        if by_hand:
            published >> (last := approval(collection, f"{group_id}.publish"))
        last >> promote() >> reported

    return group()


def _announced(asset: Asset, told: Answer, context: Mapping[str, Any]) -> Metadata:
    """The event of a promotion, of the partition that the run took.

    A run that was asked for a partition by its params has no key of its own, and without one
    the event would reach no consumer that is scheduled by partition.
    """
    if told["partition"] and context["dag_run"].partition_key is None:
        context["outlet_events"][asset].add_partitions(told["partition"])
    return Metadata(asset, extra=told)
