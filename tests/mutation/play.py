"""Plays the tests against a mutant: in a forked child, over a copy of the working tree.

The parent has imported the libraries, which takes longer than most tests, but nothing of ours and
no test: a child imports these from its copy. No thread of LanceDB runs before the fork.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant
from tests.support.checkout import REPOSITORY

LIBRARIES = ("hypothesis.strategies", "lancedb", "moto.server", "numpy", "obstore.store",
             "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "pydantic", "rich", "typer",
             "xdist")  # fmt: skip
FOLDERS = ("commonspace", "dags", "docs", "encoders", "infra", "pipeline", "tests")
SECONDS = 240
"""After which a mutant is taken to hang; its tests take less than a minute."""
NO_SLOW = "not (models or quality or sources or crash or airflow or demo or gpu or soak or stack)"

_ticks = itertools.count(1)


def import_libraries() -> None:
    """Import what every child needs, once."""
    warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that collects garbage would copy the pages of all that was imported


def copy_tree(target: Path) -> None:
    """A copy of what the tests need, links and uncommitted changes included."""
    target.mkdir(parents=True)
    command = ["cp", "-a", *FOLDERS, "pyproject.toml", str(target)]
    subprocess.run(command, cwd=REPOSITORY, check=True)


def kills(tree: Path, mutant: Mutant | None, tests: Sequence[str], log: Path) -> bool:
    """Whether one of the tests fails, in the copy, where the file is the mutant.

    A mutant that cannot be imported is killed, too. None is the program as it is.
    """
    with _applied(tree, mutant):
        return _wait(_start(tree, tests, log)) != pytest.ExitCode.OK


@contextmanager
def _applied(tree: Path, mutant: Mutant | None) -> Iterator[None]:
    if mutant is None:
        yield
        return
    path = tree / mutant.path
    original = path.read_bytes()
    try:
        _write(path, mutant.code.encode())
        yield
    finally:
        _write(path, original)


def _write(path: Path, data: bytes) -> None:
    """Write the file with a time of its own: compiled files are told apart by seconds and size."""
    path.write_bytes(data)
    moment = time.time() - 10**8 + 10 * next(_ticks)
    os.utime(path, (moment, moment))


def _start(tree: Path, tests: Sequence[str], log: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        with log.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)
        sys.path[:] = [str(tree), *(entry for entry in sys.path if entry != str(REPOSITORY))]
        for name in [n for n in sys.modules if n.partition(".")[0] in ("tests", "commonspace")]:
            del sys.modules[name]
        arguments = ["-q", "-x", "-p", "no:cacheprovider", "-m", NO_SLOW,
                     "--hypothesis-seed=0", "--timeout=60", "--basetemp", f"{tree}-tmp",
                     *tests]  # fmt: skip
        status = int(pytest.main(arguments))
        sys.stdout.flush()
        os._exit(status)
    except BaseException:
        os._exit(pytest.ExitCode.INTERNAL_ERROR)


def _wait(child: int) -> int:
    """The child's exit status; one that hangs, or leaves processes behind, is killed."""
    until = time.monotonic() + SECONDS
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended or time.monotonic() > until:
            break
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
        return pytest.ExitCode.INTERRUPTED
    return os.waitstatus_to_exitcode(status)
