"""What a run of a DAG takes: pure decisions over what Airflow and a person say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.periods import CADENCES
from commonspace.pipeline.errors import UserMistake

TASK_SECONDS = 600.0
"""How long an encode task should take: loading a model, about 7 s, is then some 1 % of it."""

MOST_ENCODE_TASKS = 500
"""Below Airflow's `max_map_length` of 1024."""


@dataclass(frozen=True)
class RunRequest:
    """What one run takes of its collection. No partition, no ids: everything."""

    partition: str | None = None
    ids: tuple[str, ...] = ()
    only_rejects: bool = False
    spaces: tuple[str, ...] = ()
    force: bool = False
    dry_run: bool = False

    def takes(self, space: str) -> bool:
        """Whether the run is of the space (`name/vN`) too."""
        return not self.spaces or space in self.spaces


def request(
    collection: Collection,
    params: Mapping[str, Any],
    run_key: str | None,
    interval_start: datetime | None,
) -> RunRequest:
    """What the params and the run itself ask for.

    run_key: the run's own partition key, from a schedule, a backfill or an asset's event.
    interval_start: of a run with a logical date. Raises UserMistake for what cannot be meant.
    """
    ids, only_rejects = tuple(params.get("ids") or ()), bool(params.get("only_rejects"))
    partition = params.get("partition") or None
    if sum([partition is not None or run_key is not None, bool(ids), only_rejects]) > 1:
        raise UserMistake("a partition, `ids` and `only_rejects` exclude each other")
    if not (ids or only_rejects):
        partition = partition_of(collection, partition, run_key, interval_start)
    force = params.get("force")
    return RunRequest(
        partition,
        ids,
        only_rejects,
        tuple(params.get("spaces") or ()),
        force is not None,
        bool(params.get("dry_run")) or force == "plan",
    )


def partition_of(
    collection: Collection,
    request: str | None,
    run_key: str | None,
    interval_start: datetime | None,
) -> str | None:
    """The partition that a run takes; None is everything.

    The first counts of: the param, the run's own key, the interval's start. Raises UserMistake
    where the first two contradict each other, where a key names no partition, and where a
    partitioned collection's run has none of them.
    """
    if request and run_key and request != run_key:
        raise UserMistake(
            f"the run's own partition is {run_key!r}, yet its params ask for {request!r}",
            do="Leave the param out: a backfill makes a run for each partition by itself.",
        )
    period = collection.collection.partitions
    if period is None:
        return request or run_key
    cadence = CADENCES[period]
    key = request or run_key or (cadence.partition_at(interval_start) if interval_start else None)
    if key is None:
        raise UserMistake(
            f"a run of {collection.name} takes one {period}, and nothing says which",
            do=f'Trigger it with a partition key or the param "partition", written '
            f"{cadence.key_format}; or use `airflow backfill create`.",
        )
    try:
        cadence.partition_start(key)
    except ValueError as error:
        raise UserMistake(
            f"{key!r} names no {period}", do=f"Write {cadence.key_format}."
        ) from error
    return key


def request_of_run(collection: Collection, context: Mapping[str, Any]) -> RunRequest:
    """`request` from a task's context, in which a run without a logical date lacks keys."""
    key, start = context["dag_run"].partition_key, context.get("data_interval_start")
    return request(collection, context["params"], key, start)


def shards_per_task(shards: int, seconds: float | None) -> list[list[int]]:
    """Which shards each encode task takes: from the first number to before the second.

    seconds: what the plan expects encoding to take, None where no release says how fast it goes;
    then, a shard is a task. The answer is an XCom, and stays below 10 kB for a million shards.
    """
    wanted = shards if seconds is None else int(seconds / TASK_SECONDS) + 1
    tasks = min(shards, wanted, MOST_ENCODE_TASKS)
    return [[shards * n // tasks, shards * (n + 1) // tasks] for n in range(tasks)]
