"""One DAG for each collection file.

Parsing this file imports neither torch nor lancedb nor pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from commonspace_airflow.collection import collection_dag
from commonspace_airflow.environment import COLLECTIONS_FOLDER

from commonspace.pipeline.config.files import collection_files, load_collection
from commonspace.pipeline.errors import UserMistake


def broken_dag(path: Path, error: UserMistake) -> DAG:
    """A DAG that says what is wrong with its collection file; the others are not affected."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
    with DAG(
        dag_id=name, schedule=None, tags=["commonspace", "broken"], doc_md=f"```\n{error}\n```"
    ) as dag:

        @task(retries=0)
        def broken_collection_file() -> None:
            """Fail with what is wrong with the collection file."""
            raise AirflowFailException(str(error))

        broken_collection_file()
    return dag


def every_dag() -> Iterator[DAG]:
    """One DAG for each collection file, also for broken ones."""
    seen: set[str] = set()
    for path in collection_files(COLLECTIONS_FOLDER):
        try:
            collection = load_collection(path)
            if collection.name in seen:
                raise UserMistake(f"another file declares the collection {collection.name!r} too")
            seen.add(collection.name)
            yield collection_dag(collection)
        except UserMistake as error:
            yield broken_dag(path, error)


for _dag in every_dag():
    globals()[_dag.dag_id] = _dag
