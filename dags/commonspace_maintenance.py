"""What a warehouse needs besides runs, once a day: verify, retain, freshness, rejects again.

Index upkeep needs no task: each promotion does it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from commonspace_airflow.alerts import on_failure
from commonspace_airflow.environment import whole_collections
from commonspace_airflow.freshness import stale_spaces
from commonspace_airflow.process import log, run_verb
from commonspace_airflow.retries import RETRIES

PAGE = """
### Maintenance of the warehouse

* **verify** reads every current release, bit by bit, and fails for one that is damaged:
  `commonspace verify SPACE --repair` says and mends what it can.
* **retain** removes old releases, as `keep_releases` of each collection says.
* **fresh** fails where the last run that brought a space to its source, or found it there, is
  longer ago than its collection's `fresh_within`.
* **replay** starts a run with `only_rejects` of each collection whose rejects may pass now.
"""


def _may_pass(reject: dict[str, Any]) -> bool:
    """Whether it is worth a run over rejects; what kills would kill a process every night."""
    passing = reject["retryable"] and reject["id"]
    return bool(passing and reject["reason"] != "killed_encoder")


with DAG(
    dag_id="commonspace_maintenance",
    schedule="30 3 * * *",
    catchup=False,
    max_active_runs=1,
    doc_md=PAGE,
    tags=["commonspace"],
    default_args={"owner": "commonspace", "on_failure_callback": on_failure, **RETRIES},
):

    @task
    def spaces() -> list[str]:
        """Every space that serves a release and was not retired."""
        shown = run_verb("show")
        alive = [one for one in shown if not one["retired"]]
        return [one["space"] for one in alive if one["release"] or one["problem"]]

    @task(map_index_template="{{ task.op_kwargs['space'] }}", multiple_outputs=False)
    def verify(space: str) -> dict[str, Any]:
        """Fails where what readers are served is not what was published."""
        told: dict[str, Any] = run_verb("verify", space)
        if not told["ok"]:
            sentence = f"{space}: " + "; ".join(told["problems"])
            log.error(sentence)
            raise AirflowFailException(f"{sentence}\n  `commonspace verify {space} --repair`")
        return told

    @task(trigger_rule="all_done", multiple_outputs=False)
    def retain() -> dict[str, int]:
        """Removes old releases; the answer says how many of each space."""
        told = run_verb("retain")
        failed = [f"{one['space']}: {one['what']}" for one in told if "error" in one]
        if failed:
            log.error("; ".join(failed))
            raise AirflowFailException("; ".join(failed))
        return {one["space"]: len(one["removed"]) for one in told}

    @task
    def fresh() -> None:
        """Fails where a space is older than its collection's `fresh_within`."""
        stale = stale_spaces(whole_collections(), run_verb("show"), datetime.now(UTC))
        if stale:
            log.error("; ".join(stale))
            raise AirflowFailException("\n".join(stale))

    @task
    def collections_with_rejects() -> list[dict[str, Any]]:
        """Collections with rejects of which trying again may help, as arguments of `replay`."""
        names = {one.name for one in whole_collections()}
        run = get_current_context()["dag_run"].run_id
        found: set[str] = set()
        for one in run_verb("show"):
            collection = one["space"].split("/")[0]
            if one["rejects"] and not one["retired"] and collection in names - found:
                rejects = run_verb("rejects", one["space"])["rejects"]
                found |= {collection} if any(map(_may_pass, rejects)) else set()
        conf = {"only_rejects": True}
        return [
            {"trigger_dag_id": name, "conf": conf, "trigger_run_id": f"{run}__{name}"}
            for name in sorted(found)
        ]

    replay = TriggerDagRunOperator.partial(
        task_id="replay",
        logical_date=None,
        skip_when_already_exists=True,
        map_index_template="{{ task.trigger_dag_id }}",
        doc_md="Starts a run of the collection over its rejects.",
    )
    verify.expand(space=spaces()) >> retain()
    fresh()
    replay.expand_kwargs(collections_with_rejects())
