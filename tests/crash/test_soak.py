"""2,000 small runs in one process: memory, time and files stay where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.checkout import REPOSITORY

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

RUNS = int(os.environ.get("COMMONSPACE_SOAK_RUNS", "2000"))
WARM = 200
"""Runs until caches and the kept releases have reached their size; allocators keep growing in
ever rarer steps for some hundreds more, so that memory is measured over the second half."""
MIB = 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_grows(tmp_path: Path, found: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.crash.soak", str(tmp_path), str(RUNS)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    print(answer.stdout)  # noqa: T201
    warm = [line for line in lines if line["runs"] >= WARM]
    slope, early = (growth(lines, since) for since in (RUNS // 2, WARM))
    slower = warm[-1]["seconds"] / warm[0]["seconds"]
    most, least = (of(line["files"] for line in warm) for of in (max, min))
    found.append(
        f"soak: {RUNS} runs, {slope:+.2f} MiB a hundred over the second half ({early:+.2f} since "
        f"run {WARM}), latency {slower:.2f}x ({warm[-1]['seconds']:.3f} s), {least} to {most} files"
    )
    assert slope < 1.0
    assert slower < 1.5
    assert most < 1.5 * least


def growth(lines: list[dict[str, float]], since: int) -> float:
    """MiB for every hundred runs, fitted."""
    late = [line for line in lines if line["runs"] >= since]
    hundreds = [line["runs"] / 100 for line in late]
    return float(np.polyfit(hundreds, [line["resident"] / MIB for line in late], 1)[0])
