"""When a collection runs."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAll, CronPartitionTimetable, PartitionedAssetTimetable

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.config.sections import SpaceSection


def space_asset(collection: Collection, space: SpaceSection) -> Asset:
    """The Asset that a promotion of the space updates."""
    return named_asset(f"{collection.name}/{space.name}/v{space.version}")


def source_asset(name: str) -> Any:
    """What starts a collection: an Asset by its address, or by its name.

    The Asset of a space has the space's name, such as `books/blurb/v1`.
    """
    if "://" in name:
        return Asset.ref(uri=name)
    return Asset.ref(name=name)


def named_asset(space: str) -> Asset:
    """The Asset of `collection/space/vN`, for a consumer's DAG."""
    return Asset(name=space, uri=f"commonspace://{space}", group="commonspace")


PARALLEL_RUNS = 3
"""Runs of a partitioned collection at once. Each plans again after another was promoted, which
costs a plan and a validation, never an encoding."""


def schedule_of(collection: Collection) -> Any:
    """What Airflow is told as `schedule`: a time, or the Assets of its source.

    A partitioned collection runs when a partition has ended, and takes that one. Switched on, it
    takes the last one that has ended at once. Where an Asset's event starts it, it takes that
    event's partition.
    """
    described = collection.collection
    if described.schedule_on:
        sources = AssetAll(*(source_asset(name) for name in described.schedule_on))
        return PartitionedAssetTimetable(assets=sources) if described.partitions else sources
    if described.partitions is None:
        return described.schedule
    cadence = CADENCES[described.partitions]
    return CronPartitionTimetable(
        cadence.cron,
        timezone="UTC",
        run_offset=-1,
        run_immediately=True,
        key_format=cadence.key_format,
    )


def parallel_runs(collection: Collection) -> int:
    """How many of its runs may be active at once."""
    usual = PARALLEL_RUNS if collection.collection.partitions else 1
    return collection.run.parallel_runs or usual
