"""The DAG of one collection.

    (wait_for_files ->) pull -> [space] plan -> encode (mapped over shards) -> validate -> publish
        (-> approve) -> promote -> report

Tasks pass counts and numbers; rows stay in the warehouse.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.definitions.param import ParamsDict

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.periods import CADENCES
from commonspace_airflow.alerts import deadline_of, on_failure
from commonspace_airflow.form import page_of, params_of
from commonspace_airflow.process import Answer, refusing, run_id_of, run_stage
from commonspace_airflow.retries import RETRIES
from commonspace_airflow.schedule import parallel_runs, schedule_of
from commonspace_airflow.scope import RunRequest, request_of_run
from commonspace_airflow.space import space_group
from commonspace_airflow.stages import skip_if_empty

LOOK_AGAIN = timedelta(minutes=5)


def collection_dag(collection: Collection) -> DAG:
    """The DAG of one collection."""
    described = collection.collection
    with DAG(
        dag_id=collection.name,
        description=described.description or None,
        schedule=schedule_of(collection),
        catchup=False,
        max_active_runs=parallel_runs(collection),
        deadline=deadline_of(collection),
        doc_md=page_of(collection),
        tags=["commonspace"],
        default_args={
            "owner": described.owner,
            "on_failure_callback": on_failure,
            **RETRIES,
        },
    ) as dag:

        @task(multiple_outputs=False)
        def pull() -> Answer:
            """Read the run's scope of the source once; give every item its content digests.

            Skipped where there is nothing: a partition without files or records, of which
            nothing is published, or no rejects to try again.
            """
            context = get_current_context()
            with refusing():
                request = request_of_run(collection, context)
            return skip_if_empty(_pull(collection, run_id_of(context), request))

        pulled = pull()
        if described.partitions and described.late_by:
            _wait_for_files(collection) >> pulled
        for space in collection.space:
            pulled >> space_group(collection, space)
    # Last: Airflow copies what is there into each task, which is half of the time of parsing.
    dag.params = ParamsDict(params_of(collection))
    return dag


def _pull(collection: Collection, run_id: str, request: RunRequest) -> Answer:
    options = [option for name in request.spaces for option in ("--space", name)]
    options += ["--partition", request.partition] if request.partition else []
    options += ["--only-rejects"] if request.only_rejects else []
    options += ["--force"] if request.force else []
    with tempfile.TemporaryDirectory() as folder:
        if request.ids:
            file = Path(folder) / "ids"
            file.write_text("\n".join(request.ids), encoding="utf-8")
            options += ["--ids", str(file)]
        return run_stage("pull", str(collection.path), run_id, *options)


def _wait_for_files(collection: Collection) -> Any:
    """Waits until the run's partition has files, or the time of late ones is over."""
    cadence = CADENCES[str(collection.collection.partitions)]
    late_by = collection.collection.late_by or timedelta(0)
    longest = cadence.max_length + late_by + LOOK_AGAIN

    @task.sensor(
        mode="reschedule",
        poke_interval=LOOK_AGAIN.total_seconds(),
        timeout=longest.total_seconds(),
    )
    def wait_for_files() -> bool:
        """Waits, without a worker, until the run's partition has files or is late no more."""
        context = get_current_context()
        with refusing():
            request = request_of_run(collection, context)
        if request.partition is None:
            return True
        if datetime.now(UTC) >= cadence.partition_end(request.partition) + late_by:
            return True
        options = ["--partition", request.partition]
        told = run_stage("look", str(collection.path), run_id_of(context), *options)
        return bool(told["there"])

    return wait_for_files()
