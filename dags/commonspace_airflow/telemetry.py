"""What other systems receive of each run of a space: its lineage by OpenLineage, and a few numbers
wherever Airflow's own metrics go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.observability import stats

from commonspace.pipeline.config.collection import Collection
from commonspace_airflow.process import log

FACET_KEYS = ("fingerprint", "encoder", "release", "rows", "partition", "ledger", "manifest")
"""The keys of a promotion's answer that the facet `commonspace_space` has."""


def emit_lineage(collection: Collection, promotion: Mapping[str, Any]) -> None:
    """Report that the running task made a release of a space from the collection's source.

    The source is its path or glob in the namespace `file`, the space is its Asset's name in
    `commonspace`. What goes wrong is only logged: the release is served all the same.

    Args:
        collection: the one whose source was read.
        promotion: the answer of the promotion.
    """
    try:  # the provider is an extra
        from airflow.providers.openlineage.api import emit_dataset_lineage, is_openlineage_active
    except ImportError:
        return
    try:
        if is_openlineage_active():
            emit_dataset_lineage(inputs=[_input(collection)], outputs=[_output(promotion)])
    except Exception as error:
        # Only the type: the error's message may hold the transport's address and its key.
        log.warning("OpenLineage could not be reached: %s", type(error).__name__)


def emit_metrics(report: Mapping[str, Any]) -> None:
    """Send a run's numbers: `commonspace.<what>.<collection>.<space>-v<N>`, also as tags.

    Does nothing where Airflow's metrics are off. What goes wrong is only logged: the release is
    served all the same.

    Args:
        report: of the space, as `report.json` has it.
    """
    try:
        _send_metrics(report)
    except Exception as error:
        log.warning("metrics could not be sent: %s", type(error).__name__)


def _input(collection: Collection) -> Any:
    from openlineage.client.event_v2 import InputDataset

    return InputDataset("file", collection.source_uri)


def _output(promotion: Mapping[str, Any]) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset

    facets: dict[str, Any] = {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(str(promotion["release"])),
        "commonspace_space": DatasetFacet().with_additional_properties(
            **{key: promotion[key] for key in FACET_KEYS}
        ),
    }
    return OutputDataset("commonspace", promotion["space"], facets=facets)


def _send_metrics(report: Mapping[str, Any]) -> None:
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
