"""The verbs that only read start fast: what they need not, they do not import."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.warehouse import Warehouse, numbered_items

SLOW = {
    "lancedb", "pandas", "torch", "torchvision", "transformers", "sentence_transformers",
    "openvino", "PIL", "airflow", "huggingface_hub", "duckdb", "polars",
}  # fmt: skip
"""None of these is needed to look up rows, and each takes longer to import than all the rest."""
SCRIPT = f"""
import sys
def require_absent(when, *names):
    imported = set(names) & set(sys.modules)
    assert not imported, (when, imported)

import commonspace
require_absent("import commonspace", "numpy", "pyarrow", "pydantic")
from commonspace.pipeline.cli.app import app
require_absent("--help", "numpy", "pyarrow", "pydantic")
for verb in (["show"], ["files", "things/text"], ["get", "things/text", "i0001"],
             ["get", "things/text", "i0001", "--json"], ["search", "things/text", "--id", "i0001"],
             ["search", "things/text", "--id", "i0001", "--json"],
             ["get", "things/text", "i0001", "--release", "1"]):
    app(verb, standalone_mode=False)
    require_absent(verb, *{sorted(SLOW)!r})
space = commonspace.open("things/text")
space.search(vector=[1.0] * 64)
space.to_arrow()
require_absent("a vector", *{sorted(SLOW)!r})
"""


def test_what_the_reading_verbs_import(warehouse: Warehouse) -> None:
    warehouse.run_without_error([*numbered_items(20), {"id": "empty", "text": ""}])
    environment = {
        **os.environ,
        "COMMONSPACE_WAREHOUSE": warehouse.address,
        "COMMONSPACE_COLLECTIONS": str(warehouse.folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
