"""A few numbers of each run of a space, wherever Airflow's own metrics go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.observability import stats
from commonspace_tasks import log


def count(report: Mapping[str, Any]) -> None:
    """Adds a run's numbers: `commonspace.<what>.<collection>.<space>-v<N>`, tagged with both, too.

    report: of the space, as `report.json` has it. Does nothing where Airflow's metrics are off.
    What goes wrong is logged: the release is served, whoever counts it.
    """
    try:
        _count(report)
    except Exception as error:
        log.warning("the run was not counted: %s", type(error).__name__)


def _count(report: Mapping[str, Any]) -> None:
    space = f"{report['space']}-v{report['version']}"
    tags = {"collection": report["collection"], "space": space}

    def name(what: str) -> str:
        return f"commonspace.{what}.{report['collection']}.{space}"

    ledger = report["ledger"]
    stats.incr(name("encoded"), ledger["encoded"], tags=tags)
    stats.gauge(name("rejected"), ledger["rejected"], tags=tags)
    stats.gauge(name("rows"), report["rows"], tags=tags)
    seconds = report["seconds"]["encode"]
    stats.timing(name("encoding"), timedelta(seconds=seconds), tags=tags)
