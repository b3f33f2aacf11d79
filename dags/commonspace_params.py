"""The trigger form of a collection's DAG."""

from __future__ import annotations

from airflow.sdk import Param

from pipeline.config import Collection


def params_of(collection: Collection) -> dict[str, Param]:
    """Typed params: `partition`, `ids` and `only_rejects` exclude each other.

    A dry run is asked for: what a run of unchanged content costs is nothing, since what is
    published is not encoded again, and schedules and backfills start from the same defaults.
    """
    names = [f"{space.name}/v{space.version}" for space in collection.space]
    period = collection.collection.partitions
    return {
        "partition": Param(
            None,
            type=["null", "string"],
            description=f"Only this {period or 'partition'} of the source.",
        ),
        "ids": Param(
            [],
            type="array",
            items={"type": "string", "minLength": 1},
            description="Only these items, one id a line.",
        ),
        "only_rejects": Param(
            False, type="boolean", description="Only what the current releases hold as rejects."
        ),
        "spaces": Param(
            [],
            type="array",
            items={"type": "string", "enum": names},
            examples=names,
            description="Only these spaces; all where none is chosen.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            description="Only plan: what would be done and cost, in the XComs of each `plan`.",
        ),
    }
