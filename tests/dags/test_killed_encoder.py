"""A whole run of a DAG in which an item kills the process that encodes it, with a real SIGKILL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.storage.local import LocalStore
from tests.support.checkout import DAGS
from tests.support.collection_file import write_collection
from tests.support.crashing_encoder import MONSTER, deadly, encoded

ITEMS = 200
RUN = f"""
import json, sys
sys.path.insert(0, {str(DAGS)!r})
from airflow.dag_processing.dagbag import DagBag
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import select
run = DagBag(dag_folder={str(DAGS)!r}).dags["things"].test()
with create_session() as session:
    found = session.scalars(select(XComModel).where(XComModel.run_id == run.run_id))
    xcoms = {{f"{{x.task_id}}:{{x.key}}": x.value for x in found}}
tries = {{t.task_id: [str(t.state), t.try_number] for t in run.get_task_instances()}}
print(json.dumps({{"tries": tries, "report": xcoms["text-v1.report:return_value"]}}))
"""


@pytest.mark.airflow
@pytest.mark.timeout(600)
def test_the_rest_of_its_shard_is_encoded_within_one_try(
    airflow: dict[str, str], python: Callable[[str, dict[str, str]], Any], tmp_path: Path
) -> None:
    rows = [{"id": f"i{n}", "text": f"item {n}"} for n in range(ITEMS - 1)]
    rows.append({"id": "m", "text": f"item {MONSTER}"})
    write_collection(
        tmp_path, rows,
        gates={"spot_rows": 0, "max_reject_share": 0.1}, run={"shard_rows": 2 * ITEMS},
    )  # fmt: skip
    found = python(RUN, {**airflow, "PYTHONPATH": deadly(tmp_path)["PYTHONPATH"]})
    assert found["tries"]["text-v1.encode"] == ["success", 1]
    assert found["tries"]["text-v1.promote"][0] == "success"
    report = found["report"]
    ledger = report["ledger"]
    assert (ledger["offered"], ledger["encoded"], ledger["rejected"]) == (ITEMS, ITEMS - 1, 1)
    assert report["rejects_by_reason"] == {"killed_encoder": 1}
    assert next(gate for gate in report["gates"] if gate["name"] == "ledger")["ok"]
    assert verify_space(LocalStore(tmp_path / "warehouse"), "things/text").ok
    calls = encoded(tmp_path)
    killed = [call for call in calls if any(MONSTER in text for text in call)]
    assert [len(call) for call in killed] == [ITEMS, ITEMS % 64, 1, 1]
    times = Counter(text for call in calls if call not in killed for text in call)
    assert len(times) == ITEMS - 1
    assert set(times.values()) == {1}, "what was encoded is not encoded again"
