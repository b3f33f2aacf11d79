"""The maintenance DAG, over a warehouse that needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.dags.listener import listening
from tests.support.checkout import DAGS
from tests.support.collection_file import TEXT_SPACE, write_collection

Python = Callable[[str, dict[str, str]], Any]

SECTIONS: dict[str, Any] = {
    "collection": {"keep_releases": 1},
    "gates": {"max_reject_share": 0.5, "max_drift": 1.0},
}
PHOTO_SPACE = {"name": "photo", "encoder": "hashed/64", "image": "photo"}

RUN = """
import json, sys
sys.path.insert(0, DAGS)
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select
bag = DagBag(dag_folder=DAGS)
assert not bag.import_errors, bag.import_errors
run = bag.dags["commonspace_maintenance"].test()
tasks = run.get_task_instances()
(retain,) = [t for t in tasks if t.task_id == "retain"]
with create_session() as session:
    others = select(DagRun).where(DagRun.dag_id != run.dag_id)
    started = [[r.dag_id, r.run_id.startswith(run.run_id), r.conf] for r in session.scalars(others)]
again = bag.dags[started[0][0]].test(run_conf=started[0][2])
print(json.dumps({
    "state": str(run.state),
    "tasks": sorted([t.task_id, t.rendered_map_index, str(t.state)] for t in tasks),
    "retained": retain.xcom_pull(task_ids="retain"),
    "started": started,
    "again": str(again.state),
}, default=str))
"""


def write(folder: Path, count: int) -> None:
    """Things of which one names a photo that has not come yet."""
    for name in ("things", "others"):
        rows = [
            {"id": f"i{n}", "text": f"text {n}", "photo": f"{n}.jpg" if name == "things" else None}
            for n in range(count)
        ]
        photos = {f"{n}.jpg": b"photo %d" % n for n in range(1, count)}
        spaces = [TEXT_SPACE, PHOTO_SPACE] if name == "things" else [TEXT_SPACE]
        write_collection(folder, rows, name=name, spaces=spaces, files=photos, **SECTIONS)


@pytest.fixture
def warehouse(airflow: dict[str, str], tmp_path: Path) -> Path:
    """Three spaces of two releases each, one damaged, one with a reject; and one never filled."""
    write_collection(tmp_path, name="late", collection={"fresh_within": "1h"})
    for count in (9, 12):
        write(tmp_path, count)
        for name in ("things", "others"):
            command = [sys.executable, "-m", "commonspace", "run", name]
            subprocess.run(command, env=airflow, check=True, capture_output=True)
    for part in (tmp_path / "warehouse/others/text/v1/parts").rglob("*.parquet"):
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.write_bytes(data)
    return tmp_path / "warehouse"


@pytest.mark.airflow
@pytest.mark.timeout(1200)
def test_a_warehouse_that_needs_it(
    airflow: dict[str, str], python: Python, tmp_path: Path, warehouse: Path
) -> None:
    (tmp_path / "0.jpg").write_bytes(b"photo 0, late")
    with listening() as webhook:
        airflow["COMMONSPACE_WEBHOOK"] = webhook.address
        found = python(f"DAGS = {str(DAGS)!r}\n{RUN}", airflow)
    assert found["state"] == "failed"
    assert found["tasks"] == [
        ["collections_with_rejects", None, "success"],
        ["fresh", None, "failed"],
        ["replay", "things", "success"],
        ["retain", None, "success"],
        ["spaces", None, "success"],
        ["verify", "others/text/v1", "failed"],
        ["verify", "things/photo/v1", "success"],
        ["verify", "things/text/v1", "success"],
    ]
    heard = {reported["task"]: reported["text"] for reported in webhook.heard}
    assert heard.keys() == {"verify", "fresh"}
    assert "others/text/v1: " in heard["verify"]
    assert "late/text/v1 was never promoted" in heard["fresh"]
    assert set(found["retained"].values()) == {1}
    left = sorted(path.name for path in warehouse.glob("*/*/v1/releases/*.json"))
    assert left[:2] == ["000002.json"] * 2, "of each space, its last release"
    assert found["started"] == [["things", True, {"only_rejects": True}]]
    assert found["again"] == "success"
    command = [sys.executable, "-m", "commonspace", "show", "things/photo", "--json"]
    shown = subprocess.run(command, env=airflow, check=True, capture_output=True).stdout
    (photo,) = json.loads(shown)
    assert (photo["rows"], photo["rejects"]) == (12, 0), "the photo has come"
