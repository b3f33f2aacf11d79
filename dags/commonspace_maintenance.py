"""What a warehouse needs besides runs, once a day: verify, retain, check freshness, retry rejects.

Indexes need no task: each promotion maintains them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from commonspace_airflow.alerts import on_failure
from commonspace_airflow.environment import readable_collections
from commonspace_airflow.freshness import stale_spaces
from commonspace_airflow.process import log, run_verb
from commonspace_airflow.retries import RETRIES

from commonspace.pipeline.config.names import MAINTENANCE_DAG

PAGE = """
### Maintenance of the warehouse

* **verify** reads every current release completely, and fails for one that is damaged:
  `commonspace verify SPACE --repair` repairs what it can.
* **retain** removes old releases, as `keep_releases` of each collection says.
* **fresh** fails where the last run that left a space up to date is longer ago than its
  collection's `fresh_within`.
* **replay** starts a run with `only_rejects` of each collection with rejects that may succeed now.
"""


def _is_worth_retrying(reject: dict[str, Any]) -> bool:
    """Whether a nightly retry may help: an item that crashes the encoder would do so each night."""
    is_retryable = reject["retryable"] and reject["id"]
    return bool(is_retryable and reject["reason"] != "killed_encoder")


with DAG(
    dag_id=MAINTENANCE_DAG,
    schedule="30 3 * * *",
    catchup=False,
    max_active_runs=1,
    doc_md=PAGE,
    tags=["commonspace"],
    default_args={"owner": "commonspace", "on_failure_callback": on_failure, **RETRIES},
):

    @task
    def spaces() -> list[str]:
        """List the spaces that serve a release and were not retired."""
        alive = [entry for entry in run_verb("show") if not entry["retired"]]
        return [entry["space"] for entry in alive if entry["release"] or entry["problem"]]

    @task(map_index_template="{{ task.op_kwargs['space'] }}", multiple_outputs=False)
    def verify(space: str) -> dict[str, Any]:
        """Fail where what is served differs from what was published."""
        verification: dict[str, Any] = run_verb("verify", space)
        if not verification["ok"]:
            message = f"{space}: " + "; ".join(verification["problems"])
            log.error(message)
            raise AirflowFailException(f"{message}\n  `commonspace verify {space} --repair`")
        return verification

    @task(trigger_rule="all_done", multiple_outputs=False)
    def retain() -> dict[str, int]:
        """Remove old releases; the answer says how many of each space."""
        answers = run_verb("retain")
        failures = [
            f"{answer['space']}: {answer['what']}" for answer in answers if "error" in answer
        ]
        if failures:
            log.error("; ".join(failures))
            raise AirflowFailException("; ".join(failures))
        return {answer["space"]: len(answer["removed"]) for answer in answers}

    @task
    def fresh() -> None:
        """Fail where a space is older than its collection's `fresh_within`."""
        stale = stale_spaces(readable_collections(), run_verb("show"), datetime.now(UTC))
        if stale:
            log.error("; ".join(stale))
            raise AirflowFailException("\n".join(stale))

    @task
    def collections_with_rejects() -> list[dict[str, Any]]:
        """List the collections whose rejects are worth a retry, as arguments of `replay`."""
        names = {collection.name for collection in readable_collections()}
        run_id = get_current_context()["dag_run"].run_id
        chosen: set[str] = set()
        for entry in run_verb("show"):
            collection = entry["space"].split("/")[0]
            if entry["rejects"] and not entry["retired"] and collection in names - chosen:
                rejects = run_verb("rejects", entry["space"])["rejects"]
                chosen |= {collection} if any(map(_is_worth_retrying, rejects)) else set()
        conf = {"only_rejects": True}
        return [
            {"trigger_dag_id": name, "conf": conf, "trigger_run_id": f"{run_id}__{name}"}
            for name in sorted(chosen)
        ]

    replay = TriggerDagRunOperator.partial(
        task_id="replay",
        logical_date=None,
        skip_when_already_exists=True,
        map_index_template="{{ task.trigger_dag_id }}",
        doc_md="Start a run of the collection that tries its rejects again.",
    )
    verify.expand(space=spaces()) >> retain()
    fresh()
    replay.expand_kwargs(collections_with_rejects())
