"""The DAGs: what parsing them costs, what is in them, and that they do what `run` does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.config.periods import CADENCES
from tests.support.checkout import DAGS, REPOSITORY
from tests.support.collection_file import TEXT_SPACE, write_collection

DAYS = {"uri": "{partition}.jsonl"}


def write(folder: Path, name: str, *, items: Any = None, **options: Any) -> None:
    """A collection of two spaces, every day, over `things.jsonl` by default."""
    about = {"schedule": "@daily", "description": "Things.", **options.pop("collection", {})}
    defaults = {"source": {"uri": "things.jsonl"}, "run": {"shard_rows": 20}}
    title = {"name": "title", "encoder": "hashed/32", "fields": ["title"]}
    write_collection(
        folder, items, name=name, spaces=[TEXT_SPACE, title], collection=about,
        **{**defaults, **options},
    )  # fmt: skip


Python = Callable[[str, dict[str, str]], Any]


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """Two collections over one file of 60 things."""
    rows = [{"id": f"i{n}", "text": f"text {n}", "title": f"title {n % 7}"} for n in range(60)]
    write(tmp_path, "things", items=rows)
    write(tmp_path, "others")
    return tmp_path


PARSE = f"""
import json, sys, time
begun = time.process_time()
import airflow.sdk
from airflow.providers.standard.decorators.python import python_task
sys.path.insert(0, {str(DAGS)!r})
airflow.sdk.Asset(name="any", uri="commonspace://any")  # looks Airflow's providers up, once
before = set(sys.modules)
began = time.process_time()
loading = began - begun
import commonspace_dags as module
took = time.process_time() - began
dags = {{d.dag_id: d for d in vars(module).values() if isinstance(d, airflow.sdk.DAG)}}
heavy = {{"torch", "lancedb", "pyarrow", "transformers", "pandas", "openlineage"}}
heavy &= set(sys.modules) - before
print(json.dumps({{
    "seconds": took, "loading": loading, "heavy": sorted(heavy),
    "dags": {{name: {{
        "tasks": sorted(d.task_ids), "doc": bool(d.doc_md), "tags": sorted(d.tags),
        "docs": [t for t in d.task_ids if not d.get_task(t).doc_md],
        "outlets": sorted(a.name for t in d.tasks for a in t.outlets),
        "params": sorted(d.params), "schedule": type(d.timetable).__name__,
        "runs": d.max_active_runs,
        "pools": {{t.task_id: [t.pool, t.queue] for t in d.tasks}},
    }} for name, d in dags.items()}},
}}))
"""


@pytest.mark.usefixtures("things")
def test_inventory(airflow: dict[str, str], python: Python, tmp_path: Path) -> None:
    """Fifty collections are parsed faster than Airflow is loaded, whatever lies beside them.

    Measured: 0.8 to 1.2 s of CPU on a busy machine, which slows both down alike.
    """
    (tmp_path / "broken.toml").write_text("[collection]\nname = 'broken'\n")
    (tmp_path / "__builtins__.toml").write_bytes(b"\xff")
    (tmp_path / f"{'n' * 240}.toml").symlink_to("nowhere")
    (tmp_path / "a-copy.toml").write_bytes((tmp_path / "others.toml").read_bytes())
    write(tmp_path, "commonspace_maintenance")
    write(tmp_path, "asset", collection={"schedule": None, "schedule_on": [""]})
    write(tmp_path, "cron", collection={"schedule": "61 * * * *"})
    fifty = {f"c{number}" for number in range(50)}
    for name in fifty:
        write(tmp_path, name)
    found = python(PARSE, airflow)
    assert found["seconds"] < found["loading"]
    assert not found["heavy"], "parsing a DAG must stay light"
    broken = {name for name, dag in found["dags"].items() if "broken" in dag["tags"]}
    assert set(found["dags"]) == {"things", "others", *fifty, *broken}
    taken = {"others_broken", "commonspace_maintenance_broken"}
    assert broken == {"broken", "__builtins__", "n" * 200, "asset", "cron", *taken}
    stages = ("encode", "plan", "promote", "publish", "report", "validate")
    groups = [f"{space}-v1.{stage}" for space in ("text", "title") for stage in stages]
    things = found["dags"]["things"]
    assert things["tasks"] == sorted(["pull", *groups])
    assert things["outlets"] == ["things/text/v1", "things/title/v1"]
    assert all(found["dags"][name]["tasks"] == ["broken_collection_file"] for name in broken)
    for dag in found["dags"].values():
        assert dag["doc"]
        assert not dag["docs"], "every task says what it does"


def test_what_a_collection_file_says_about_its_dag(
    airflow: dict[str, str], python: Python, tmp_path: Path
) -> None:
    keys = {
        "partitions": "day", "late_by": "2h", "promote": "manual", "approve_within": "2d",
    }  # fmt: skip
    run = {"queue": "gpu", "pool": "gpu"}
    write(tmp_path, "events", source=DAYS, collection=keys, run=run)
    follows = {**keys, "schedule": None, "schedule_on": ["raw", "events/text/v1"]}
    write(tmp_path, "follows", source=DAYS, collection=follows, run={})
    found = python(PARSE, airflow)["dags"]
    events = found["events"]
    assert events["schedule"] == "CronPartitionTimetable"
    assert found["follows"]["schedule"] == "PartitionedAssetTimetable"
    assert events["runs"] == 3
    params = ["delete_missing", "dry_run", "force", "ids", "only_rejects", "partition", "spaces"]
    assert events["params"] == params
    assert {"wait_for_files", "text-v1.approve", "title-v1.approve"} <= set(events["tasks"])
    assert not events["docs"]
    pools, usual = events["pools"], found["follows"]["pools"]
    for task, where in pools.items():  # a card is needed by what encodes, and by nothing else
        assert where == (["gpu", "gpu"] if task.endswith(".encode") else usual["pull"])
    assert {tuple(where) for where in usual.values()} == {("default_pool", "default")}


PARTITIONS = f"""
import json, sys
from datetime import datetime, timezone
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import TimeRestriction
import pendulum
sys.path.insert(0, {str(DAGS)!r})
from pathlib import Path
from commonspace_airflow.schedule import dag_schedule
from commonspace.pipeline.config.files import load_collection
found = {{}}
for path in sorted(Path(sys.argv[1]).glob("*.toml")):
    timetable = coerce_to_core_timetable(dag_schedule(load_collection(path)))
    first, last = pendulum.datetime(2026, 11, 10), pendulum.datetime(2026, 11, 12)
    keys = [i.partition_key for i in
            timetable.iter_partition_dagrun_infos(earliest=first, latest=last)]
    free = TimeRestriction(earliest=None, latest=None, catchup=False)
    info = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=free)
    found[path.stem] = {{
        "backfilled": keys, "next": info.partition_key, "at": info.run_after.isoformat()}}
print(json.dumps(found))
"""


def test_backfills_and_schedules_name_the_same_partitions(
    airflow: dict[str, str], tmp_path: Path
) -> None:
    for period, preset in (("hour", "@hourly"), ("day", "@daily"), ("month", "@monthly")):
        collection = {"schedule": preset, "partitions": period}
        write(tmp_path, period, source=DAYS, collection=collection)
    command = [sys.executable, "-c", PARTITIONS, str(tmp_path)]
    done = subprocess.run(command, env=airflow, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["day"]["backfilled"] == ["2026-11-10", "2026-11-11", "2026-11-12"]
    assert found["hour"]["backfilled"][::24] == [f"2026-11-{n}T00" for n in (10, 11, 12)]
    assert found["month"]["backfilled"] == []
    for period, reported in found.items():  # switched on: the last one that has ended, at once
        cadence, now = CADENCES[period], datetime.now(UTC)
        end, current = cadence.partition_end, cadence.partition_at(now)
        assert end(reported["next"]) <= now < end(current)
        assert datetime.fromisoformat(reported["at"]) == cadence.partition_end(reported["next"])


def test_the_shipped_collections_are_whole(airflow: dict[str, str], python: Python) -> None:
    del airflow["COMMONSPACE_COLLECTIONS"]
    found = python(PARSE, airflow)
    assert set(found["dags"]) == {path.stem for path in (DAGS / "collections").glob("*.toml")}
    assert all("broken" not in dag["tags"] for dag in found["dags"].values())


def test_every_setting_of_the_environment_file_exists(
    airflow: dict[str, str], python: Python
) -> None:
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


def test_airflow_parses_the_files_that_make_dags_and_no_others() -> None:
    ignored = (DAGS / ".airflowignore").read_text().splitlines()
    modules = {path.name for path in DAGS.glob("*.py")}
    assert modules - set(ignored) == {"commonspace_dags.py", "commonspace_maintenance.py"}


RUN = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from sqlalchemy import select
DAGS = %r
sys.path.insert(0, DAGS)
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
    airflow: dict[str, str], python: Python, things: Path
) -> None:
    warehouse, elsewhere = str(things / "warehouse"), str(things / "by-command")
    found = python(RUN % str(DAGS), airflow)
    first, second = found["runs"]
    assert first["state"] == second["state"] == "success"
    assert sum(name.startswith("text-v1.encode[") for name in first["tasks"]) > 1
    assert first["tasks"]["text-v1.promote[-1]"] == "success"
    assert second["tasks"]["text-v1.promote[-1]"] == "skipped", "nothing changed: no event"
    assert second["tasks"]["text-v1.report[-1]"] == "success"
    assert found["largest_xcom"] < 10_000
    reported = {event["space"]: event for event in found["events"]}
    assert set(reported) == {"things/text/v1", "things/title/v1"}
    assert len(found["events"]) == 2
    command = [sys.executable, "-m", "commonspace", "run", "things"]
    subprocess.run(
        command,
        env={**airflow, "COMMONSPACE_WAREHOUSE": elsewhere},
        check=True,
        capture_output=True,
    )
    compare = (
        "import json, commonspace\n"
        "def rows(w, s):\n"
        "    t = commonspace.open(f'things/{s}', warehouse=w).to_arrow()\n"
        "    return t.drop(['encoded_at', 'run']).sort_by('id')\n"
        f"a, b = {warehouse!r}, {elsewhere!r}\n"
        "print(json.dumps([rows(a, s).equals(rows(b, s)) for s in ('text', 'title')]))"
    )
    assert python(compare, airflow) == [True, True]


FAIL = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
DAGS = %r
sys.path.insert(0, DAGS)
bag = DagBag(dag_folder=DAGS)
assert not bag.import_errors, bag.import_errors
run = bag.dags["things"].test()
states = {t.task_id: (str(t.state), t.try_number) for t in run.get_task_instances()}
print(json.dumps({"state": str(run.state), "tasks": states}))
"""


@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_a_gate_turns_the_run_red_and_is_not_retried(
    airflow: dict[str, str], python: Python, things: Path
) -> None:
    with (things / "things.jsonl").open("a") as file:
        file.writelines(f'{{"id": "bad{n}", "text": " ", "title": "x"}}\n' for n in range(20))
    found = python(FAIL % str(DAGS), airflow)
    assert found["state"] == "failed"
    assert found["tasks"]["text-v1.validate"] == ["failed", 1]
    assert not (things / "warehouse/things/text").exists()
    assert found["tasks"]["title-v1.promote"][0] == "success", "the other space is published"
