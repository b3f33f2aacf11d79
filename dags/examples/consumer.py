"""An example of a consumer's DAG: it follows a space and takes what has changed.

Copy it into your own dags folder (this one is left out by `.airflowignore`). It needs nothing of
commonspace to be parsed, and the `commonspace` command where its tasks run.

Of a collection with `partitions`, say `schedule=PartitionedAssetTimetable(assets=SPACE)`:
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
    max_active_runs=1,  # what was seen last is one number
    doc_md=__doc__,
    tags=["commonspace", "example"],
):

    @task(inlets=[SPACE], multiple_outputs=False)
    def follow() -> dict[str, Any]:
        """Reads the changes since the release that was seen last; remembers the one it has read.

        The first time, and where that release is kept no more, all rows are new. Whatever is
        done with the ids must be done twice without harm: a try that fails after it is repeated
        from the same release.
        """
        seen = get_current_context()["asset_state_store"][SPACE]
        last = seen.get("release")
        now = _commonspace("show", NAME)[0]["release"]
        kept = [one["number"] for one in _commonspace("releases", NAME)["releases"]]
        if last not in kept:  # the first time, or away for longer than releases are kept
            told: dict[str, Any] = {"everything": True, "until": now}
        else:
            changes = _commonspace("changes", NAME, "--since", str(last), "--until", str(now))
            counts = {kind: len(changes[kind]) for kind in ("added", "changed", "removed")}
            told = {**counts, "since": last, "until": now}
        seen.set("release", now)
        return told

    follow()


def _commonspace(*arguments: str) -> Any:
    """The answer of a command; a process of its own, for LanceDB does not survive a fork."""
    command = [sys.executable, "-m", "commonspace", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
