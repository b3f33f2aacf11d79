from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash import faults
from tests.crash.forks import Servers

FOUND: list[str] = []
"""What the tests have counted, one line each, for the end of the session."""


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Processes that have imported everything, the fault library preloaded."""
    if not sys.platform.startswith("linux"):
        pytest.skip("NO FAULT WAS INJECTED: the fault library is for Linux")
    if shutil.which("cc") is None:
        pytest.skip("NO FAULT WAS INJECTED: there is no C compiler (`cc`) to build faults.c")
    servers = Servers(faults.build(tmp_path_factory.mktemp("faults")))
    yield servers
    servers.end()


@pytest.fixture(scope="session")
def prepared(servers: Servers) -> Iterator[Path]:
    """The folders that cases start from; in memory where there is room, for the many flushes."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**28
    with tempfile.TemporaryDirectory(prefix="crash-", dir=memory if roomy else None) as folder:
        servers.ask("cases:prepare", folder)
        yield Path(folder)


@pytest.fixture(scope="session")
def found() -> list[str]:
    return FOUND


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for line in FOUND:
        terminalreporter.write_line(line)
