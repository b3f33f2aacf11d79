"""The example of a consumer's DAG, copied into a dags folder as it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import REPOSITORY
from tests.support.collection_file import TEXT_SPACE, write_collection

EXAMPLE = REPOSITORY / "dags/examples/consumer.py"
Python = Callable[[str, dict[str, str]], Any]

RUN = """
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=FOLDER)
assert not bag.import_errors, bag.import_errors
run = bag.dags["example_consumer"].test()
(task,) = run.get_task_instances()
print(json.dumps([str(run.state), task.xcom_pull(task_ids="follow")]))
"""


@pytest.mark.airflow
@pytest.mark.timeout(600)
def test_a_consumer_takes_everything_and_then_what_has_changed(
    airflow: dict[str, str], python: Python, tmp_path: Path
) -> None:
    folder = tmp_path / "dags"
    folder.mkdir()
    shutil.copy(EXAMPLE, folder)
    airflow["AIRFLOW__CORE__DAGS_FOLDER"] = str(folder)
    pages = {f"p{n}": f"page {n} of the handbook" for n in range(9)}

    def publish() -> None:
        items = [{"id": page, "text": text} for page, text in pages.items()]
        space = {**TEXT_SPACE, "name": "page"}
        write_collection(tmp_path, items, name="handbook", spaces=[space], gates={"max_drift": 1.0})
        command = [sys.executable, "-m", "commonspace", "run", "handbook"]
        subprocess.run(command, env=airflow, check=True, capture_output=True)

    def consume() -> Any:
        return python(f"FOLDER = {str(folder)!r}\n{RUN}", airflow)

    publish()
    assert consume() == ["success", {"everything": True, "until": 1}]
    del pages["p3"]
    pages |= {"p4": "a page that was written anew", "p9": "a ninth page", "p10": "a tenth"}
    publish()
    changes = {"added": 2, "changed": 1, "removed": 1}
    assert consume() == ["success", {**changes, "since": 1, "until": 2}]
    nothing = dict.fromkeys(changes, 0)
    assert consume() == ["success", {**nothing, "since": 2, "until": 2}]
