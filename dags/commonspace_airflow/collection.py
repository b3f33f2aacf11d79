"""The DAG of one collection.

    (wait_for_files ->) pull -> [space] plan -> encode (mapped over shards) -> validate -> publish
        (-> approve) -> promote -> report

Tasks pass counts and numbers to each other; rows stay in the warehouse.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.definitions.param import ParamsDict

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.ids import write_ids
from commonspace.pipeline.config.periods import CADENCES
from commonspace_airflow.alerts import dag_deadline, on_failure
from commonspace_airflow.form import dag_page, dag_params
from commonspace_airflow.process import Answer, failing_on_mistakes, pipeline_run_id, run_stage
from commonspace_airflow.retries import RETRIES
from commonspace_airflow.schedule import dag_schedule, parallel_runs
from commonspace_airflow.scope import RunRequest, read_request
from commonspace_airflow.space import space_group
from commonspace_airflow.stages import skip_if_empty

POKE_INTERVAL = timedelta(minutes=5)
"""Between two looks for the files of a partition."""


def collection_dag(collection: Collection) -> DAG:
    """The DAG of one collection."""
    section = collection.collection
    with DAG(
        dag_id=collection.name,
        description=section.description or None,
        schedule=dag_schedule(collection),
        catchup=False,
        max_active_runs=parallel_runs(collection),
        deadline=dag_deadline(collection),
        doc_md=dag_page(collection),
        tags=["commonspace"],
        default_args={
            "owner": section.owner,
            "on_failure_callback": on_failure,
            **RETRIES,
        },
        auto_register=False,  # by `with`, for then one that cannot be completed would be, too
    ) as dag:

        @task(multiple_outputs=False)
        def pull() -> Answer:
            """Read the run's part of the source once, and compute a digest of each content.

            Skipped where there is nothing to do: a partition without files or records of which
            nothing is published, or no rejects to try again.
            """
            context = get_current_context()
            with failing_on_mistakes():
                request = read_request(collection, context)
            return skip_if_empty(_pull(collection, pipeline_run_id(context), request))

        pulled = pull()
        if section.partitions and section.late_by:
            _wait_for_files(collection) >> pulled
        for space in collection.space:
            pulled >> space_group(collection, space)
    # Last: Airflow copies the params into every task made after them, half of the time of parsing.
    dag.params = ParamsDict(dag_params(collection))
    return dag


def _pull(collection: Collection, run_id: str, request: RunRequest) -> Answer:
    options = [option for name in request.spaces for option in ("--space", name)]
    options += ["--partition", request.partition] if request.partition else []
    options += ["--only-rejects"] if request.only_rejects else []
    options += ["--force"] if request.force else []
    options += ["--delete-missing"] if request.delete_missing else []
    with tempfile.TemporaryDirectory() as folder:
        if request.ids:
            file = Path(folder) / "ids.json"
            write_ids(file, request.ids)
            options += ["--ids", str(file)]
        return run_stage("pull", str(collection.path), run_id, *options)


def _wait_for_files(collection: Collection) -> Any:
    """A task that waits for the files of the run's partition, up to `late_by`."""
    cadence = CADENCES[str(collection.collection.partitions)]
    late_by = collection.collection.late_by or timedelta(0)
    timeout = cadence.max_length + late_by + POKE_INTERVAL

    @task.sensor(
        mode="reschedule",
        poke_interval=POKE_INTERVAL.total_seconds(),
        timeout=timeout.total_seconds(),
    )
    def wait_for_files() -> bool:
        """Wait, without keeping a worker, for the files of the run's partition, up to `late_by`."""
        context = get_current_context()
        with failing_on_mistakes():
            request = read_request(collection, context)
        if request.partition is None:
            return True
        if datetime.now(UTC) >= cadence.partition_end(request.partition) + late_by:
            return True
        options = ["--partition", request.partition]
        answer = run_stage("look", str(collection.path), pipeline_run_id(context), *options)
        return bool(answer["there"])

    return wait_for_files()
