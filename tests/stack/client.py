"""Talking to a running stack through its own interfaces, as people and programs do."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from obstore.store import S3Store

from infra.stack.part import end_session

T = TypeVar("T")
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Stack:
    """A running `python -m infra.stack`, and the ways in which one talks to it."""

    def __init__(
        self, folder: Path, process: subprocess.Popen[str], around: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.process = process
        self._around = around

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        return {part["name"]: part for part in json.loads((self.folder / "parts.json").read_text())}

    @cached_property
    def environment(self) -> dict[str, str]:
        """What `. airflow.env` gives to a shell."""
        lines = (self.folder / "airflow.env").read_text().splitlines()
        words = [shlex.split(line)[1].partition("=") for line in lines]
        return {**self._around, **{name: value for name, _, value in words}}

    @property
    def collections(self) -> Path:
        return Path(self.environment["COMMONSPACE_COLLECTIONS"])

    @cached_property
    def address(self) -> str:
        return self.environment["AIRFLOW__API__BASE_URL"]

    @cached_property
    def password(self) -> str:
        return str(json.loads((self.folder / "airflow-passwords.json").read_text())["admin"])

    @cached_property
    def token(self) -> str:
        body = {"username": "admin", "password": self.password}
        return str(_request(f"{self.address}/auth/token", "POST", body)["access_token"])

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """An answer of Airflow's REST interface."""
        address = f"{self.address}/api/v2/{path}?{urllib.parse.urlencode(query)}"
        return _request(address, method, body, {"Authorization": f"Bearer {self.token}"})

    def log(self, dag: str, run: str, task: str, attempt: int = 1) -> list[dict[str, Any]]:
        """The log of a task's try, an event each line."""
        path = f"dags/{dag}/dagRuns/{urllib.parse.quote(run)}/taskInstances/{task}/logs/{attempt}"
        return list(self.call("GET", path, map_index=-1)["content"])

    def log_of(self, part: str) -> str:
        """What a part has printed."""
        return Path(self.parts[part]["log"]).read_text(errors="replace")

    def airflow(self, *words: str) -> str:
        """What the command line prints. Fails where it fails."""
        return self.python("-m", "airflow", *words)

    def python(self, *words: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], env={**self.environment, **environment}, text=True,
            capture_output=True, check=False, cwd=self.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
        return done.stdout

    def switch(self, dag: str, *, on: bool) -> None:
        """Unpause or pause a DAG, once it has been parsed."""
        until(lambda: self._known(dag), 120, f"DAG {dag} is known")
        self.call("PATCH", f"dags/{dag}", {"is_paused": not on})

    def _known(self, dag: str) -> bool:
        return any(d["dag_id"] == dag for d in self.call("GET", "dags", limit=100)["dags"])

    def trigger(self, dag: str, partition: str | None = None) -> str:
        body = {"logical_date": None, **({"partition_key": partition} if partition else {})}
        return str(self.call("POST", f"dags/{dag}/dagRuns", body)["dag_run_id"])

    def runs(self, dag: str, kind: str) -> list[dict[str, Any]]:
        """Those that a schedule, a backfill, an asset's event or a hand has started."""
        found = self.call("GET", f"dags/{dag}/dagRuns", limit=100)["dag_runs"]
        return [run for run in found if run["run_type"] == kind]

    def tasks(self, dag: str, run: str, **query: Any) -> list[dict[str, Any]]:
        """Of a run, or of all for "~": a hundred at most."""
        path = f"dags/{dag}/dagRuns/{urllib.parse.quote(run)}/taskInstances"
        return list(self.call("GET", path, limit=100, **query)["task_instances"])

    def events_of(self, dag: str) -> list[dict[str, Any]]:
        """Asset events of a DAG's promotions, oldest first."""
        query = {"source_dag_id": dag, "limit": 100, "order_by": "timestamp"}
        return list(self.call("GET", "assets/events", **query)["asset_events"])

    def progress(self, dag: str) -> list[tuple[str, ...]]:
        """What has become of the tasks that were the last to start."""
        words = ("dag_run_id", "task_id", "map_index", "state", "try_number")
        tasks = self.tasks(dag, "~", order_by="-start_date")
        return sorted(tuple(str(task[word]) for word in words) for task in tasks)

    def wait_for(self, dag: str, run: str) -> str:
        """The state in which a run ends."""
        path = f"dags/{dag}/dagRuns/{urllib.parse.quote(run)}"

        def ended() -> str | None:
            state = str(self.call("GET", path)["state"])
            return state if state in ("success", "failed") else None

        return until(ended, 180, f"{run} has ended", lambda: self.progress(dag))

    def wait_for_all(self, dag: str, kind: str, count: int) -> list[dict[str, Any]]:
        """The DAG's runs of a kind, once there are so many and all have ended."""

        def ended() -> list[dict[str, Any]] | None:
            runs = self.runs(dag, kind)
            over = all(run["state"] in ("success", "failed") for run in runs)
            return runs if over and len(runs) == count else None

        what = f"{count} runs of {dag} have ended ({kind})"
        return until(ended, 180, what, lambda: self.progress(dag))

    @cached_property
    def warehouse(self) -> S3Store:
        """The bucket's part that is the warehouse."""
        bucket, _, prefix = self.environment["COMMONSPACE_WAREHOUSE"][5:].partition("/")
        return S3Store(
            bucket, prefix=prefix, endpoint=self.environment["AWS_ENDPOINT_URL"],
            access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region=self.environment["AWS_REGION"], client_options={"allow_http": True},
        )  # fmt: skip

    def kill(self, part: str) -> None:
        """SIGKILL to every process of a part, as when its container dies."""
        before = self.parts[part]["restarts"]
        end_session(self.parts[part]["pid"])
        until(lambda: self.parts[part]["restarts"] > before, 60, f"{part} was started again")


def until(
    ask: Callable[[], T | None],
    seconds: float,
    what: str,
    progress: Callable[[], object] | None = None,
) -> T:
    """The first true answer; the API may be unreachable meanwhile, as while its database is.

    The seconds count from the last progress, if one says how to see it: a busy machine is slow.
    """
    deadline, seen, trouble = time.monotonic() + seconds, None, None
    while True:
        try:
            if answer := ask():
                return answer
            if progress and time.monotonic() > deadline and (now := progress()) != seen:
                deadline, seen = time.monotonic() + seconds, now
        except (OSError, KeyError, ValueError) as error:
            trouble = error
        if time.monotonic() > deadline:
            reported = f"; last seen: {seen}" if progress else ""
            raise AssertionError(f"not within {seconds} s: {what} ({trouble}{reported})")
        time.sleep(0.5)


def _request(
    address: str, method: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        address, data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    try:
        with _direct.open(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        raise OSError(f"{method} {address}: {error.code} {error.read()[:500]!r}") from error
