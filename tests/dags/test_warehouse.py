"""The bucket's keys come from an Airflow connection, where the worker's environment has none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from commonspace.pipeline.read.space import open_space
from tests.support.collection_file import write_collection

pytest.importorskip("airflow")

from commonspace_airflow.environment import bucket_access


@pytest.mark.airflow
def test_a_run_into_a_bucket_by_a_connection(
    tmp_path: Path,
    airflow: dict[str, str],
    run_things: Callable[[dict[str, str]], str],
    bucket: str,
) -> None:
    rows = [{"id": f"i{n}", "text": f"text {n}"} for n in range(9)]
    write_collection(tmp_path, rows)
    connection = {
        "conn_type": "aws",
        "login": os.environ["AWS_ACCESS_KEY_ID"],
        "password": os.environ["AWS_SECRET_ACCESS_KEY"],
        "extra": {
            "endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "region_name": "us-east-1",
            "allow_http": True,
        },
    }
    environment = {k: v for k, v in airflow.items() if not k.startswith("AWS_")}
    environment |= {
        "COMMONSPACE_WAREHOUSE": bucket,
        "AIRFLOW_CONN_COMMONSPACE_WAREHOUSE": json.dumps(connection),
    }
    assert run_things(environment) == "success"
    assert len(open_space("things/text", warehouse=bucket)) == 9


def test_what_the_connection_says(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"region_name": "", "allow_http": True, "virtual_hosted_style_request": False}
    connection = {"login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_COMMONSPACE_WAREHOUSE", json.dumps(connection))
    bucket = {"COMMONSPACE_WAREHOUSE": "s3://ours/warehouse"}
    given = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    given["AWS_ALLOW_HTTP"] = "true"
    assert bucket_access(bucket) == given
    assert bucket_access(bucket | {"AWS_ACCESS_KEY_ID": "of the worker"}) == {}
    assert bucket_access({"COMMONSPACE_WAREHOUSE": "/srv/warehouse"}) == {}
