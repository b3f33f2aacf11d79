"""Processes that are stopped by SIGKILL in the middle of changing a warehouse."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection

from tests.support.checkout import REPOSITORY
from tests.support.warehouse import Warehouse

COMMAND_LINE = "from commonspace.pipeline.cli.app import main\nmain()\n"
HOOK = """
import os, signal, sys
left, names = int(sys.argv.pop(1)), sys.argv.pop(1).split()
def hook(event, arguments):
    global left
    if event not in {"os.link", "os.rename", "os.remove"}:
        return
    path = str(arguments[event != "os.remove"])
    name = os.path.basename(path)
    if name in names or not names and "warehouse" in path and not name.startswith("."):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
"""


def kill_at_change(
    point: int,
    warehouse: Warehouse,
    *arguments: str,
    code: str = COMMAND_LINE,
    names: Collection[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run code in a process that is killed before it changes a file for the n-th time.

    Args:
        point: Which change it does not live to make; the first one is 1.
        warehouse: What the process works on.
        arguments: Of the code; those of the command line by default.
        code: What is run.
        names: The files whose changes count; all of the warehouse where there are none.
    """
    return subprocess.run(
        [sys.executable, "-c", HOOK + code, str(point), " ".join(names), *arguments],
        env={**os.environ, "COMMONSPACE_WAREHOUSE": warehouse.address},
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
