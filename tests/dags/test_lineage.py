"""What OpenLineage is told of a whole run: its events, read back from the file they went to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.spec import EncoderSpec
from tests.support.checkout import DAGS
from tests.support.collection_file import write_collection

Python = Callable[[str, dict[str, str]], Any]

RUN = f"""
import json, sys
sys.path.insert(0, {str(DAGS)!r})
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.openlineage.plugins.listener import get_openlineage_listener
dag = DagBag(dag_folder={str(DAGS)!r}).dags["things"]
runs = [dag.test() for _ in range(RUNS)]
get_openlineage_listener().before_stopping(None)  # waits for what its process tells of the runs
states = [{{t.task_id: str(t.state) for t in run.get_task_instances()}} for run in runs]
print(json.dumps([[str(run.state), tasks["text-v1.promote"]] for run, tasks in zip(runs, states)]))
"""


WITHOUT = f"""
import json, sys
sys.path.insert(0, {str(DAGS)!r})
from commonspace_airflow.telemetry import emit_lineage
sys.modules["airflow.providers.openlineage"] = None  # as where it is not installed
print(json.dumps(emit_lineage(None, {{}})))
"""


def test_without_the_provider_nothing_is_reported(airflow: dict[str, str], python: Python) -> None:
    assert python(WITHOUT, airflow) is None


REFUSED = f"""
import json, logging, sys
sys.path.insert(0, {str(DAGS)!r})
from airflow.providers.openlineage import api
from commonspace_airflow.telemetry import emit_lineage
def refuse():
    raise ValueError("http://name:secret@backend answers 500")
api.is_openlineage_active = refuse
said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("commonspace").addHandler(handler)
emit_lineage(None, {{}})
print(json.dumps(said))
"""


@pytest.mark.airflow
def test_what_a_transport_says_stays_out_of_the_log(
    airflow: dict[str, str], python: Python
) -> None:
    assert python(REFUSED, airflow) == ["OpenLineage could not be reached: ValueError"]


@pytest.fixture
def things(tmp_path: Path) -> None:
    rows = [{"id": f"i{n}", "text": f"text {n}" if n else ""} for n in range(20)]
    write_collection(tmp_path, rows, gates={"max_reject_share": 0.5})


@pytest.mark.airflow
@pytest.mark.usefixtures("things")
def test_source_and_space_of_each_promotion(
    airflow: dict[str, str], python: Python, tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    airflow["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
    reported = python(f"RUNS = 2\n{RUN}", airflow)
    assert reported == [["success", "success"], ["success", "skipped"]]
    events = [json.loads(line) for line in file.read_text().splitlines()]
    promotions = [e for e in events if e["job"]["name"] == "things.text-v1.promote"]
    (event,) = [e for e in promotions if e.get("outputs")]  # the second run changed nothing
    assert {e["run"]["runId"] for e in promotions} >= {event["run"]["runId"]}
    (source,), (space,) = event["inputs"], event["outputs"]
    assert (source["namespace"], source["name"]) == ("file", str(tmp_path / "things.jsonl"))
    assert (space["namespace"], space["name"]) == ("commonspace", "things/text/v1")
    facet = space["facets"]["commonspace_space"]
    release = json.loads((tmp_path / "warehouse" / facet["manifest"]).read_text())
    assert facet["ledger"] == release["ledger"]
    assert facet["ledger"]["encoded"] == 19
    assert facet["ledger"]["rejected"] == 1
    assert facet["rows"] == release["rows"] == 19
    assert facet["release"] == release["number"] == 1
    assert facet["fingerprint"] == release["fingerprint"]
    assert facet["encoder"] == EncoderSpec.from_json(release["spec"]).label
    assert space["facets"]["version"]["datasetVersion"] == "1"


@pytest.mark.airflow
@pytest.mark.usefixtures("things")
def test_a_backend_that_is_gone_stops_no_promotion(airflow: dict[str, str], python: Python) -> None:
    transport = {"type": "http", "url": "http://127.0.0.1:9", "retry": {"total": 0}}
    airflow["AIRFLOW__OPENLINEAGE__TRANSPORT"] = json.dumps(transport)
    assert python(f"RUNS = 1\n{RUN}", airflow) == [["success", "success"]]
