"""One DAG for each collection file.

Parsing this file imports neither torch nor lancedb nor pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from itertools import chain, count
from pathlib import Path

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from commonspace_airflow.collection import collection_dag
from commonspace_airflow.environment import COLLECTIONS_FOLDER

from commonspace.pipeline.config.files import collection_files, load_collection
from commonspace.pipeline.config.names import MAINTENANCE_DAG
from commonspace.pipeline.errors import CommonspaceError, UserMistake

LONGEST_STEM = 200
"""Of the name of a broken file in that of its DAG, for which Airflow has 250 characters."""


def broken_dag(dag_id: str, path: Path, error: Exception) -> DAG:
    """A DAG that says what is wrong with its collection file; the others are not affected."""
    is_ours = isinstance(error, CommonspaceError)
    reason = str(error) if is_ours else f"{path}: Airflow takes no such DAG: {error}"
    shown = reason.encode("utf-8", "backslashreplace").decode()  # a file's name may hold any byte
    with DAG(
        dag_id=dag_id,
        schedule=None,
        tags=["commonspace", "broken"],
        doc_md=f"```\n{shown}\n```",
        auto_register=False,
    ) as dag:

        @task(retries=0)
        def broken_collection_file() -> None:
            """Fail with what is wrong with the collection file."""
            raise AirflowFailException(shown)

        broken_collection_file()
    return dag


def every_dag(folder: Path) -> dict[str, DAG]:
    """One DAG for each collection file of the folder, also for broken ones, by its id.

    A broken file takes no id that another DAG has.
    """
    dags: dict[str, DAG] = {}
    broken: list[tuple[Path, Exception]] = []
    for path in collection_files(folder):
        try:
            dag = _dag_of(path)
            if dag.dag_id in dags:
                raise UserMistake(
                    f"another file declares the collection {dag.dag_id!r} too",
                    item=str(path),
                    do="Rename one: each would delete what the other publishes.",
                )
            dags[dag.dag_id] = dag
        except Exception as error:  # whatever it is, the other DAGs are made
            broken.append((path, error))
    for path, reason in broken:
        dag_id = _free_id(path, dags.keys() | {MAINTENANCE_DAG})
        dags[dag_id] = broken_dag(dag_id, path, reason)
    return dags


def _dag_of(path: Path) -> DAG:
    """Raises UserMistake, or whatever Airflow raises."""
    dag = collection_dag(load_collection(path))
    dag.validate()  # type: ignore[no-untyped-call]  # Airflow's own error names no collection
    return dag


def _free_id(path: Path, taken: AbstractSet[str]) -> str:
    """The name of the file as the id of a DAG, numbered where it is taken."""
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)[:LONGEST_STEM]
    numbered = (f"{stem}_broken{number or ''}" for number in count())
    return next(name for name in chain([stem], numbered) if name not in taken)


# Airflow looks at the values; a file may well be called like a variable of this module.
globals().update({f"dag {name}": dag for name, dag in every_dag(COLLECTIONS_FOLDER).items()})
