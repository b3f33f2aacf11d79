"""The plan as `plan.parquet` in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from commonspace.pipeline.contract.parquet import parquet_bytes, read_row_groups, read_table
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.plan.plan import PLAN_SCHEMA, Plan
from commonspace.pipeline.workspace.work import Work

PLAN_FILE = "plan.parquet"


def write_plan(work: Work, plan: Plan) -> None:
    """Keep the plan for the stages that follow."""
    work.run.store.put(work.path(PLAN_FILE), parquet_bytes(plan.table))


def read_plan(work: Work) -> Plan:
    """The plan that the run has made for the space.

    Raises:
        UserMistake: the plan stage has not run.
    """
    return Plan(read_table(*_plan_file(work)).cast(PLAN_SCHEMA))


def read_plan_groups(work: Work, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of the run's plan, some thousand rows at a time.

    Raises:
        UserMistake: the plan stage has not run.
    """
    return read_row_groups(*_plan_file(work), columns)


def _plan_file(work: Work) -> tuple[pa.Buffer, str]:
    key = work.path(PLAN_FILE)
    data = work.run.store.read(key)
    if data is None:
        raise UserMistake("the plan stage has not run", item=f"run {work.run.id}")
    return data, key
