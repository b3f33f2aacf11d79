"""When a collection runs: at a time, or when Assets are updated."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset, AssetAll, CronPartitionTimetable, PartitionedAssetTimetable

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.config.sections import SpaceSection, space_key

PARALLEL_RUNS = 3
"""Runs of a partitioned collection at once. Each plans again when another one was promoted, which
costs a plan and a validation, never an encoding."""


def dag_schedule(collection: Collection) -> Any:
    """The `schedule` of a DAG: a time, or the Assets of its source.

    A partitioned collection runs when a partition has ended, and takes that one. When its DAG is
    switched on, it takes the last one that has ended at once. Started by an Asset's event, it
    takes the partition of that event.
    """
    section = collection.collection
    if section.schedule_on:
        sources = AssetAll(*(source_asset(name) for name in section.schedule_on))
        return PartitionedAssetTimetable(assets=sources) if section.partitions else sources
    if section.partitions is None:
        return section.schedule
    cadence = CADENCES[section.partitions]
    return CronPartitionTimetable(
        cadence.cron,
        timezone="UTC",
        run_offset=-1,
        run_immediately=True,
        key_format=cadence.key_format,
    )


def parallel_runs(collection: Collection) -> int:
    """How many of its runs may be active at once."""
    default = PARALLEL_RUNS if collection.collection.partitions else 1
    return collection.run.parallel_runs or default


def space_asset(collection: Collection, space: SpaceSection) -> Asset:
    """The Asset that a promotion of the space updates: `books/blurb/v1`."""
    name = f"{collection.name}/{space_key(space)}"
    return Asset(name=name, uri=f"commonspace://{name}", group="commonspace")


def source_asset(name: str) -> Any:
    """An Asset that starts a collection, by its address or its name.

    The Asset of a space has the space's name, such as `books/blurb/v1`.
    """
    if "://" in name:
        return Asset.ref(uri=name)
    return Asset.ref(name=name)
