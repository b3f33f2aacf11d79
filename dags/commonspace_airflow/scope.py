"""Which part of a collection a run processes, and how its encoding is divided among tasks.

Pure functions of what Airflow and a person say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.errors import UserMistake

TASK_SECONDS = 600.0
"""How long an encode task should take: loading a model, about 7 s, is then about 1 % of it."""

MOST_ENCODE_TASKS = 500
"""Below Airflow's `max_map_length` of 1024."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What one run processes. Without partition, ids and rejects it is everything."""

    partition: str | None = None
    ids: tuple[str, ...] = ()
    only_rejects: bool = False
    spaces: tuple[str, ...] = ()
    force: bool = False
    delete_missing: bool = False
    dry_run: bool = False

    def includes(self, space: str) -> bool:
        """Whether the run processes the space (`name/vN`)."""
        return not self.spaces or space in self.spaces


def read_request(collection: Collection, context: Mapping[str, Any]) -> RunRequest:
    """`parse_request` of a task's context; a run without a logical date has no interval."""
    key, start = context["dag_run"].partition_key, context.get("data_interval_start")
    return parse_request(collection, context["params"], key, start)


def parse_request(
    collection: Collection,
    params: Mapping[str, Any],
    run_key: str | None,
    interval_start: datetime | None,
) -> RunRequest:
    """What the params and the run itself ask for.

    Args:
        collection: the one that the DAG is of.
        params: as a person filled them in.
        run_key: the run's own partition key, from a schedule, a backfill or an Asset's event.
        interval_start: the start of the data interval of a run with a logical date.

    Raises:
        UserMistake: they contradict each other, or name no partition.
    """
    ids, only_rejects = tuple(params.get("ids") or ()), bool(params.get("only_rejects"))
    partition = params.get("partition") or None
    if sum([partition is not None or run_key is not None, bool(ids), only_rejects]) > 1:
        raise UserMistake("a partition, `ids` and `only_rejects` exclude each other")
    if not (ids or only_rejects):
        partition = resolve_partition(collection, partition, run_key, interval_start)
    force = params.get("force")
    return RunRequest(
        partition=partition,
        ids=ids,
        only_rejects=only_rejects,
        spaces=tuple(params.get("spaces") or ()),
        force=force is not None,
        delete_missing=bool(params.get("delete_missing")),
        dry_run=bool(params.get("dry_run")) or force == "plan",
    )


def resolve_partition(
    collection: Collection,
    param: str | None,
    run_key: str | None,
    interval_start: datetime | None,
) -> str | None:
    """The partition that a run processes; None is everything.

    It is the first that is given of: the param, the run's own key, the start of its interval.

    Raises:
        UserMistake: the first two contradict each other, the key names no partition, or the run
            of a partitioned collection has none of them.
    """
    if param and run_key and param != run_key:
        raise UserMistake(
            f"the run's own partition is {run_key!r}, but its params ask for {param!r}",
            do="Leave the param out: a backfill makes one run for each partition.",
        )
    period = collection.collection.partitions
    if period is None:
        return param or run_key
    cadence = CADENCES[period]
    key = param or run_key or (cadence.partition_at(interval_start) if interval_start else None)
    if key is None:
        raise UserMistake(
            f"a run of {collection.name} processes one {period}, and nothing says which",
            do=f'Trigger it with a partition key or the param "partition", written like '
            f"{cadence.example}; or use `airflow backfill create`.",
        )
    collection.check_partition(key)
    return key


def shards_per_task(shards: int, seconds: float | None) -> list[list[int]]:
    """Which shards each encode task encodes: from the first number up to, not with, the second.

    The answer is an XCom, and stays below 10 kB for a million shards.

    Args:
        shards: how many there are.
        seconds: how long the plan expects encoding to take; None where no release says how fast
            it is. Then each shard is a task.
    """
    enough = shards if seconds is None else int(seconds / TASK_SECONDS) + 1
    tasks = min(shards, enough, MOST_ENCODE_TASKS)
    return [[shards * n // tasks, shards * (n + 1) // tasks] for n in range(tasks)]
