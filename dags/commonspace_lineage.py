"""What a release was made of, told as OpenLineage where its provider is installed and set up.

By an event of our own: Airflow tells of Assets whose scheme a provider converts, and of no facets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from commonspace_tasks import log

from pipeline.config import Collection

TOLD = ("fingerprint", "encoder", "release", "rows", "partition", "ledger", "manifest")
"""What the facet `commonspace_space` has of a promotion's answer."""


def tell_lineage(collection: Collection, told: Mapping[str, Any]) -> None:
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
