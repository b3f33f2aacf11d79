"""An example of a consumer's DAG: it follows a space and processes what has changed.

Copy it into your own dags folder (`.airflowignore` excludes this one). Parsing it needs nothing of
commonspace; its tasks need the `commonspace` command.

For a collection with `partitions`, write `schedule=PartitionedAssetTimetable(assets=SPACE)`:
Airflow starts no unpartitioned consumer for an event with a partition.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from airflow.sdk import DAG, Asset, get_current_context, task

NAME = "handbook/page/v1"
SPACE = Asset(name=NAME, uri=f"commonspace://{NAME}", group="commonspace")

with DAG(
    dag_id="example_consumer",
    schedule=SPACE,
    catchup=False,
    max_active_runs=1,  # the release that was read last is one number
    doc_md=__doc__,
    tags=["commonspace", "example"],
):

    @task(inlets=[SPACE], multiple_outputs=False)
    def follow() -> dict[str, Any]:
        """Read the changes since the release that was read last, and remember the new one.

        The first time, and where the last release is no longer kept, all rows are new. Whatever is
        done with the ids must do no harm when it is done twice: a try that fails afterwards is
        repeated from the same release.
        """
        state = get_current_context()["asset_state_store"][SPACE]
        last = state.get("release")
        current = _commonspace("show", NAME)[0]["release"]
        kept = [release["number"] for release in _commonspace("releases", NAME)["releases"]]
        if last not in kept:  # the first time, or away for longer than releases are kept
            answer: dict[str, Any] = {"everything": True, "until": current}
        else:
            changes = _commonspace("changes", NAME, "--since", str(last), "--until", str(current))
            counts = {kind: len(changes[kind]) for kind in ("added", "changed", "removed")}
            answer = {**counts, "since": last, "until": current}
        state.set("release", current)
        return answer

    follow()


def _commonspace(*arguments: str) -> Any:
    """The answer of a command, run as a process of its own: LanceDB does not survive a fork."""
    command = [sys.executable, "-m", "commonspace", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
