from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import DAGS

sys.path.append(str(DAGS))  # as Airflow does


def environment(home: Path) -> dict[str, str]:
    """What an Airflow of its own in `home` needs, and nothing of another one."""
    ours = ("AIRFLOW", "COMMONSPACE_")
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(ours)},
        "COMMONSPACE_CACHE": os.environ["COMMONSPACE_CACHE"],
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of Airflow: made once, since that takes longer than some of the runs."""
    home = tmp_path_factory.mktemp("airflow")
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        check=True, capture_output=True, env=environment(home),
    )  # fmt: skip
    return home / "airflow.db"


@pytest.fixture
def airflow(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of an Airflow of its own; set before anything imports Airflow.

    With a database where the test is marked `airflow`.
    """
    home = tmp_path / "airflow"
    if request.node.get_closest_marker("airflow"):
        home.mkdir()
        shutil.copy(request.getfixturevalue("database"), home)
    return {
        **environment(home),
        "COMMONSPACE_COLLECTIONS": str(tmp_path),
        "COMMONSPACE_WAREHOUSE": str(tmp_path / "warehouse"),
    }


@pytest.fixture
def python() -> Callable[[str, dict[str, str]], Any]:
    """Runs code in a process of its own; its last line of output is a JSON document."""

    def run(code: str, environment: dict[str, str]) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


@pytest.fixture
def run_things(python: Callable[[str, dict[str, str]], Any]) -> Callable[[dict[str, str]], str]:
    """Runs the DAG of the collection `things` whole, in that environment; its state."""
    code = f"""
import json, sys
sys.path.insert(0, {str(DAGS)!r})
from airflow.dag_processing.dagbag import DagBag
dag = DagBag(dag_folder={str(DAGS)!r}).dags["things"]
print(json.dumps(str(dag.test().state)))
"""
    return lambda environment: str(python(code, environment))
