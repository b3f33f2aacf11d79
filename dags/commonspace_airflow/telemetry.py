"""A few numbers of each run of a space, wherever Airflow's own metrics go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.observability import stats

from commonspace.pipeline.config.collection import Collection
from commonspace_airflow.process import log

TOLD = ("fingerprint", "encoder", "release", "rows", "partition", "ledger", "manifest")
"""What the facet `commonspace_space` has of a promotion's answer."""


def emit_lineage(collection: Collection, told: Mapping[str, Any]) -> None:
    """Tells that the running task made a space's release (told) of the collection's source.

    The source is its path or glob in the namespace `file`, the space is its Asset's name in
    `commonspace`. What goes wrong is logged: the release is served, whoever hears of it.
    """
    try:
        from airflow.providers.openlineage.api import emit_dataset_lineage, is_openlineage_active
    except ImportError:
        return
    try:
        if is_openlineage_active():
            emit_dataset_lineage(inputs=[_source(collection)], outputs=[_space(told)])
    except Exception as error:
        # By its type alone: its text may hold the transport's address, with what opens it.
        log.warning("OpenLineage was not told: %s", type(error).__name__)


def _source(collection: Collection) -> Any:
    from openlineage.client.event_v2 import InputDataset

    return InputDataset("file", collection.source_uri)


def _space(told: Mapping[str, Any]) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset

    facets: dict[str, Any] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(str(told["release"])),
        "commonspace_space": DatasetFacet().with_additional_properties(
            **{name: told[name] for name in TOLD}
        ),
    }
    return OutputDataset("commonspace", told["space"], facets=facets)


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
