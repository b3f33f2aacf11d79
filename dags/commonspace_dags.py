"""One DAG for each collection file.

    pull -> [space] plan -> encode (mapped over shards) -> validate -> publish -> promote -> report

Tasks pass counts and numbers; rows stay in the warehouse. Promoting a release that changed
something updates the space's Asset, so that a consumer's DAG can be scheduled on it.
Parsing this file imports neither torch nor lancedb nor pyarrow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Metadata, Param, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from commonspace_tasks import Answer, run_id_of, run_stage

from pipeline.collection_files import collection_files, load_collection
from pipeline.config import Collection, SpaceSection
from pipeline.errors import UserMistake

FOLDER = Path(os.environ.get("COMMONSPACE_COLLECTIONS") or Path(__file__).parent / "collections")

MOST_ENCODE_TASKS = 500
"""Below Airflow's `max_map_length` of 1024; beyond it, a task encodes several shards."""

DOC = """
### {name}

{description}

Owner: **{owner}** · source: `{uri}` · file: `{path}`

| space | encoder | content |
|---|---|---|
{spaces}

Each run pulls the source, encodes what is new, and promotes a release that changed something.
Trigger it with a `partition` to touch only that one. Nothing is visible to readers before
every gate has held; a refused run leaves the last release in place.
"""


def space_asset(collection: Collection, space: SpaceSection) -> Asset:
    """The Asset that a promotion of the space updates."""
    name = f"{collection.name}/{space.name}/v{space.version}"
    return Asset(name=name, uri=f"commonspace://{name}", group="commonspace")


def collection_dag(collection: Collection) -> DAG:
    """The DAG of one collection."""
    path = str(collection.path)
    with DAG(
        dag_id=collection.name,
        description=collection.collection.description or None,
        schedule=collection.collection.schedule,
        catchup=False,
        max_active_runs=1,
        doc_md=_doc(collection),
        tags=["commonspace"],
        default_args={"owner": collection.collection.owner, "retries": 2},
        params={
            "partition": Param(
                None, type=["null", "string"], description="Only this partition of the source."
            )
        },
    ) as dag:

        @task(multiple_outputs=False)
        def pull() -> Answer:
            """Read the source once; give every item its content digests."""
            context = get_current_context()
            partition = context["params"].get("partition")
            options = ["--partition", partition] if partition else []
            return run_stage("pull", path, run_id_of(context), *options)

        pulled = pull()
        for space in collection.space:
            pulled >> _space_group(space, path, space_asset(collection, space))
    return dag


def _skip_unless_moved(told: Answer) -> None:
    """Raises AirflowSkipException where readers see what they saw before."""
    if told.get("waits"):
        raise AirflowSkipException(
            f"release {told['release']} waits: "
            f"`commonspace promote {told['space']} {told['release']}`"
        )
    if not told["promoted"]:
        raise AirflowSkipException(f"nothing changed: release {told['release']} stays")


def _space_group(space: SpaceSection, path: str, asset: Asset) -> Any:
    chosen = ["--space", f"{space.name}/v{space.version}"]

    def stage(name: str, *options: str) -> Answer:
        return run_stage(name, path, run_id_of(get_current_context()), *chosen, *options)

    @task_group(group_id=f"{space.name}-v{space.version}")
    def group() -> None:
        @task
        def plan() -> list[list[int]]:
            """Which items the space is missing; the answer numbers the shards to encode."""
            count = stage("plan")["shards"]
            groups = min(count, MOST_ENCODE_TASKS)
            return [list(range(first, count, groups)) for first in range(groups)]

        @task(
            multiple_outputs=False,
            map_index_template="shards {{ task.op_kwargs['shards'] | join(', ') }}",
            doc_md="Turn shards of items into vectors; a finished shard is never made twice.",
        )
        def encode(shards: list[int]) -> Answer:
            return stage("encode", *(o for n in shards for o in ("--shard", str(n))))

        @task(multiple_outputs=False, trigger_rule="none_failed")
        def validate() -> Answer:
            """Balance the ledger and hold the gates, before anything is visible."""
            return stage("validate")

        @task(multiple_outputs=False)
        def publish() -> Answer:
            """Write the next release beside the current one."""
            return stage("publish")

        @task(multiple_outputs=False, outlets=[asset])
        def promote() -> Iterator[Metadata]:
            """Bring LanceDB to the release and move CURRENT.

            Skipped where nothing changed, and where the space's owner promotes by hand.
            """
            told = stage("promote")
            _skip_unless_moved(told)
            yield Metadata(asset, extra=told)

        @task(multiple_outputs=False, trigger_rule="none_failed")
        def report() -> Answer:
            """The ledger, the gates, the rejects and the time it took."""
            return stage("report")

        encoded = encode.expand(shards=plan())
        encoded >> validate() >> publish() >> promote() >> report()

    return group()


def broken_dag(path: Path, error: UserMistake) -> DAG:
    """A DAG that says what is wrong with its collection file; the other files stay served."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem)
    with DAG(
        dag_id=name, schedule=None, tags=["commonspace", "broken"], doc_md=f"```\n{error}\n```"
    ) as dag:

        @task(retries=0)
        def broken_collection_file() -> None:
            """Fails with what is wrong."""
            raise AirflowFailException(str(error))

        broken_collection_file()
    return dag


def _doc(collection: Collection) -> str:
    spaces = "\n".join(
        f"| {s.name}/v{s.version} | `{s.encoder}` | {s.image or ', '.join(s.fields)} |"
        for s in collection.space
    )
    described = collection.collection
    return DOC.format(
        name=described.name,
        description=described.description,
        owner=described.owner,
        uri=collection.source_uri,
        path=collection.path,
        spaces=spaces,
    )


def every_dag() -> Iterator[DAG]:
    """One DAG a collection file, whole or broken."""
    seen: set[str] = set()
    for path in collection_files(FOLDER):
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
