"""Functions called in forked children of processes that have imported everything.

`Servers` starts such processes, with the fault library preloaded; each reads calls and writes
answers, one line of JSON each.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.checkout import REPOSITORY

SECONDS = 120
"""After which a child is taken to hang."""


class Servers:
    """One process for every core; `ask` may be called from that many threads."""

    def __init__(self, library: Path) -> None:
        self.count = min(os.cpu_count() or 1, 8)
        root = REPOSITORY
        inherited = {k: v for k, v in os.environ.items() if k != "COMMONSPACE_WAREHOUSE"}
        environment = {**inherited, "LD_PRELOAD": str(library), "PYTHONPATH": str(root),
                       "PYTHONWARNINGS": "ignore", "RUST_BACKTRACE": "0"}  # fmt: skip
        self._all = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.crash.forks"], cwd=root, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )
            for _ in range(self.count)
        ]  # fmt: skip
        self._free: queue.Queue[subprocess.Popen[str]] = queue.Queue()
        for server in self._all:
            self._free.put(server)

    def ask(self, function: str, *arguments: Any) -> Any:
        """The answer of `tests.crash.MODULE:FUNCTION`. Raises AssertionError with its traceback."""
        server = self._free.get()
        try:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(json.dumps([function, arguments]) + "\n")
            server.stdin.flush()
            answer = json.loads(server.stdout.readline())
        finally:
            self._free.put(server)
        assert "answer" in answer, answer
        return answer["answer"]

    def end(self) -> None:
        for server in self._all:
            assert server.stdin is not None
            server.stdin.close()
            server.wait()


def in_child(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What the function does in a forked child: `answer`, `error`, `raised` or `killed`."""
    return outcome(*start(function, *arguments))


def start(function: Callable[..., Any], *arguments: Any) -> tuple[int, int]:
    """The child and the end of the pipe that its answer comes from."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(SECONDS)
        with os.fdopen(write, "w") as out:
            json.dump(attempt(function, *arguments), out)
            out.flush()
            os._exit(0)
    os.close(write)
    return child, read


def outcome(child: int, read: int) -> dict[str, Any]:
    """Wait for what `start` has started."""
    with os.fdopen(read) as answers:
        said = answers.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"killed": os.WTERMSIG(status)}
    return dict(json.loads(said))


def attempt(function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """`error` is one of our own family, said in full; `raised` is any other."""
    from commonspace.encoders.errors import CommonspaceError

    try:
        return {"answer": function(*arguments)}
    except CommonspaceError as error:
        return {"error": error.to_json()}
    except BaseException:
        return {"raised": traceback.format_exc()[-2000:]}


def main() -> None:
    import lancedb  # noqa: F401  (imported, never used, before a fork)

    import commonspace.encoders.hashed  # noqa: F401
    from commonspace.pipeline.canary.library_versions import installed_versions

    for module in ("cases", "damage", "concurrent_runs", "kills"):
        importlib.import_module(f"tests.crash.{module}")
    installed_versions()  # kept, so that no child reads them again
    gc.freeze()  # a child that collects garbage would copy the pages of all that was imported
    for line in sys.stdin:
        function, arguments = json.loads(line)
        module, _, name = function.partition(":")
        call = getattr(importlib.import_module(f"tests.crash.{module}"), name)
        sys.stdout.write(json.dumps(attempt(call, *arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
