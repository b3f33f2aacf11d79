"""Of whatever is loaded as a collection, Airflow makes and stores a DAG, or only that one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.config.mutations import mutated
from tests.support.checkout import DAGS

MUTATIONS = 1500
STORE = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(DAGS)!r})
from airflow.serialization.serialized_objects import DagSerialization
import commonspace_dags
dags = commonspace_dags.every_dag(Path(FOLDER))
for name, dag in dags.items():
    assert dag.dag_id == name
    dag.validate()
    json.dumps(DagSerialization.to_dict(dag)).encode()
print(json.dumps({{"dags": len(dags), "broken": sum("broken" in d.tags for d in dags.values())}}))
"""


@pytest.mark.airflow
def test_every_file_is_a_dag(
    airflow: dict[str, str], python: Callable[[str, dict[str, str]], Any], tmp_path: Path
) -> None:
    folder = tmp_path / "mutations"
    folder.mkdir()
    for number in range(MUTATIONS):
        name = f"c{number}".encode()
        (folder / f"c{number}.toml").write_bytes(mutated(number).replace(b"books", name))
    found = python(f"FOLDER = {str(folder)!r}\n{STORE}", airflow)
    assert found["dags"] == MUTATIONS
    assert MUTATIONS / 2 < found["broken"] < MUTATIONS * 0.95
