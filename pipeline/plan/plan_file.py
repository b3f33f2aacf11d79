"""pipeline/plan/plan_file.py"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from commonspace.pipeline.contract.parquet import read_row_groups, read_table
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.plan.plan import PLAN_SCHEMA, Plan
from commonspace.pipeline.workspace.work import Work


def read_plan(work: Work) -> Plan:
    """The plan that the run has made for the space."""
    return Plan(read_table(*_plan_file(work)).cast(PLAN_SCHEMA))


def plan_groups(work: Work, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of the run's plan, some thousand rows at a time."""
    return read_row_groups(*_plan_file(work), columns)


def _plan_file(work: Work) -> tuple[pa.Buffer, str]:
    key = work.path("plan.parquet")
    data = work.run.store.read(key)
    if data is None:
        raise UserMistake("the plan stage has not run", item=f"run {work.run.id}")
    return data, key
