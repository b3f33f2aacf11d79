"""The DAGs: what parsing them costs, what is in them, and that they do what `run` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"

COLLECTION = """
[collection]
name = "{name}"
owner = "search-team"
schedule = "@daily"
description = "Things."
[source]
kind = "jsonl"
uri = "things.jsonl"
id = "id"
[[space]]
name = "text"
encoder = "hashed/64"
fields = ["text"]
[[space]]
name = "title"
encoder = "hashed/32"
fields = ["title"]
[run]
shard_rows = 20
"""


@pytest.fixture
def airflow(tmp_path: Path) -> dict[str, str]:
    """An Airflow home of its own; set before anything imports Airflow."""
    for name in ("things", "others"):
        (tmp_path / f"{name}.toml").write_text(COLLECTION.format(name=name))
    rows = [{"id": f"i{n}", "text": f"text {n}", "title": f"title {n % 7}"} for n in range(60)]
    (tmp_path / "things.jsonl").write_text("\n".join(map(json.dumps, rows)))
    home = tmp_path / "airflow"
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "COMMONSPACE_COLLECTIONS": str(tmp_path),
        "COMMONSPACE_WAREHOUSE": str(tmp_path / "warehouse"),
    }


def python(code: str, environment: dict[str, str]) -> Any:
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return json.loads(answer.stdout.strip().splitlines()[-1])


PARSE = f"""
import json, sys, time
import airflow.sdk
from airflow.providers.standard.decorators.python import python_task
sys.path.insert(0, {str(DAGS)!r})
before = set(sys.modules)
began = time.process_time()
import commonspace_dags as module
took = time.process_time() - began
dags = {{d.dag_id: d for d in vars(module).values() if isinstance(d, airflow.sdk.DAG)}}
heavy = {{"torch", "lancedb", "pyarrow", "transformers", "pandas"}} & (set(sys.modules) - before)
print(json.dumps({{
    "seconds": took, "heavy": sorted(heavy),
    "dags": {{name: {{
        "tasks": sorted(d.task_ids), "doc": bool(d.doc_md), "tags": sorted(d.tags),
        "docs": [t for t in d.task_ids if not d.get_task(t).doc_md],
        "outlets": sorted(a.name for t in d.tasks for a in t.outlets),
    }} for name, d in dags.items()}},
}}))
"""


def test_inventory(airflow: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[collection]\nname = 'broken'\n")
    found = python(PARSE, airflow)
    assert not found["heavy"], "parsing a DAG must stay light"
    assert set(found["dags"]) == {"things", "others", "broken"}
    stages = ("encode", "plan", "promote", "publish", "report", "validate")
    groups = [f"{space}-v1.{stage}" for space in ("text", "title") for stage in stages]
    things = found["dags"]["things"]
    assert things["tasks"] == sorted(["pull", *groups])
    assert things["outlets"] == ["things/text/v1", "things/title/v1"]
    assert found["dags"]["broken"]["tasks"] == ["broken_collection_file"]
    assert "broken" in found["dags"]["broken"]["tags"]
    for dag in found["dags"].values():
        assert dag["doc"]
        assert not dag["docs"], "every task says what it does"


def test_the_shipped_collections_are_whole(airflow: dict[str, str]) -> None:
    del airflow["COMMONSPACE_COLLECTIONS"]
    found = python(PARSE, airflow)
    assert set(found["dags"]) == {path.stem for path in (DAGS / "collections").glob("*.toml")}
    assert all("broken" not in dag["tags"] for dag in found["dags"].values())


def test_every_setting_of_the_environment_file_exists(airflow: dict[str, str]) -> None:
    lines = (REPOSITORY / "infra/airflow.env").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    settings = [name.split("__")[1:] for name in names if name.startswith("AIRFLOW__")]
    assert len(settings) >= 5
    code = (
        "import json\n"
        "from airflow.configuration import conf\n"
        f"print(json.dumps([conf.has_option(s.lower(), k.lower()) for s, k in {settings!r}]))"
    )
    assert python(code, airflow) == [True] * len(settings)


RUN = """
import json, sys
from airflow.utils.db import initdb
from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select
DAGS = %r
sys.path.insert(0, DAGS)
initdb()
bag = DagBag(dag_folder=DAGS)
assert not bag.import_errors, bag.import_errors
answers = []
for _ in range(2):
    run = bag.dags["things"].test()
    states = {f"{t.task_id}[{t.map_index}]": str(t.state) for t in run.get_task_instances()}
    answers.append({"state": str(run.state), "tasks": states})
with create_session() as session:
    sizes = [len(json.dumps(x.value, default=str)) for x in session.scalars(select(XComModel))]
    events = [e.extra for e in session.scalars(select(AssetEvent))]
print(json.dumps({"runs": answers, "largest_xcom": max(sizes), "events": events}))
"""


@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_the_dag_and_the_command_give_the_same_release(
    airflow: dict[str, str], tmp_path: Path
) -> None:
    found = python(RUN % str(DAGS), airflow)
    first, second = found["runs"]
    assert first["state"] == second["state"] == "success"
    assert sum(name.startswith("text-v1.encode[") for name in first["tasks"]) > 1
    assert first["tasks"]["text-v1.promote[-1]"] == "success"
    assert second["tasks"]["text-v1.promote[-1]"] == "skipped", "nothing changed: no event"
    assert second["tasks"]["text-v1.report[-1]"] == "success"
    assert found["largest_xcom"] < 10_000
    told = {event["space"]: event for event in found["events"]}
    assert set(told) == {"things/text/v1", "things/title/v1"}
    assert len(found["events"]) == 2
    elsewhere = {**airflow, "COMMONSPACE_WAREHOUSE": str(tmp_path / "by-command")}
    command = [sys.executable, "-m", "pipeline", "run", "things"]
    subprocess.run(command, env=elsewhere, check=True, capture_output=True)
    compare = (
        "import json, commonspace\n"
        "def rows(w, s):\n"
        "    t = commonspace.open(f'things/{s}', warehouse=w).to_arrow()\n"
        "    return t.drop(['encoded_at', 'run']).sort_by('id')\n"
        f"a, b = {str(tmp_path / 'warehouse')!r}, {str(tmp_path / 'by-command')!r}\n"
        "print(json.dumps([rows(a, s).equals(rows(b, s)) for s in ('text', 'title')]))"
    )
    assert python(compare, airflow) == [True, True]


FAIL = """
import json, sys
from airflow.utils.db import initdb
from airflow.dag_processing.dagbag import DagBag
DAGS = %r
sys.path.insert(0, DAGS)
initdb()
run = DagBag(dag_folder=DAGS).dags["things"].test()
states = {t.task_id: (str(t.state), t.try_number) for t in run.get_task_instances()}
print(json.dumps({"state": str(run.state), "tasks": states}))
"""


@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_a_gate_turns_the_run_red_and_is_not_retried(
    airflow: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "things.jsonl").open("a") as file:
        file.writelines(f'\n{{"id": "bad{n}", "text": "", "title": "x"}}' for n in range(20))
    found = python(FAIL % str(DAGS), airflow)
    assert found["state"] == "failed"
    assert found["tasks"]["text-v1.validate"] == ["failed", 1]
    assert not (tmp_path / "warehouse/things/text").exists()
    assert found["tasks"]["title-v1.promote"][0] == "success", "the other space is published"
