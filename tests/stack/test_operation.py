"""LocalExecutor, day by day: what is listened on, what people see, what a refusal says, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import psutil
import pytest

from tests.stack.browser import browser, programs
from tests.stack.client import Stack, until
from tests.stack.running import REPOSITORY, running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800)]

COLLECTION = """
[collection]
name = "things"
owner = "search-team"
description = "Things that happened, told in one sentence each."
[source]
kind = "jsonl"
uri = "things.jsonl"
id = "id"
[[space]]
name = "text"
encoder = "hashed/64"
fields = ["text"]
[run]
shard_rows = 20
"""
PICTURES = REPOSITORY / "build/pictures"


def write_things(folder: Path, *, blank: int = 0) -> None:
    texts = [f"thing number {n} happened" for n in range(30)] + [""] * blank
    rows = [json.dumps({"id": f"i{n}", "text": text}) + "\n" for n, text in enumerate(texts)]
    (folder / "things.jsonl").write_text("".join(rows))


@pytest.fixture(scope="module")
def collections(place: Path) -> Path:
    folder = place / "collections"
    folder.mkdir()
    (folder / "things.toml").write_text(COLLECTION)
    write_things(folder)
    return folder


class Webhook(BaseHTTPRequestHandler):
    """Keeps what it is told."""

    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def stack(place: Path, collections: Path, webhook: str) -> Iterator[Stack]:
    with running(
        place / "stack", collections, "--executor", "local", COMMONSPACE_WEBHOOK=webhook
    ) as started:
        yield started


def processes_of(stack: Stack) -> list[psutil.Process]:
    """Every process of its parts."""
    sessions = {part["pid"] for part in stack.parts.values()}
    return [p for p in psutil.process_iter() if _session(p) in sessions]


def _session(process: psutil.Process) -> int | None:
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


def test_nothing_listens_beyond_the_loopback(stack: Stack) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes_of(stack)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert len(listening) >= 2


def test_secrets_are_in_files_of_their_owner_alone(stack: Stack) -> None:
    for name in ("credentials.json", "airflow-passwords.json", "airflow.env"):
        assert stat.S_IMODE((stack.folder / name).stat().st_mode) == 0o600, name
    secrets = json.loads((stack.folder / "credentials.json").read_text())
    assert len(set(secrets.values())) == len(secrets) == 8
    assert min(map(len, secrets.values())) >= 32
    told = [stack.folder.parent / "stack.log", *(stack.folder / "logs").iterdir()]
    commands = [" ".join(process.cmdline()) for process in processes_of(stack)]
    for text in [*commands, *(path.read_text(errors="replace") for path in told)]:
        assert not [name for name, secret in secrets.items() if secret in text]


def test_a_run_is_seen_in_a_browser(stack: Stack) -> None:
    stack.switch_on("things")
    run = stack.trigger("things")
    assert stack.wait_for("things", run) == "success"
    if not programs():
        pytest.skip("no browser; on Debian: apt-get install chromium chromium-driver")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with browser(PICTURES) as window:
        window.open(f"{stack.address}/")
        window.type("input[name=username]", "admin")
        window.type("input[name=password]", stack.password)
        window.click("button[type=submit]")
        window.wait_for("things")
        window.picture("home")
        window.open(f"{stack.address}/dags/things")
        window.wait_for("things")
        window.picture("dag")
        window.press("Dag Docs")
        window.wait_for("Things that happened")
        window.picture("docs")
        window.open(f"{stack.address}/dags/things")
        window.press("Trigger")
        window.wait_for("partition")
        window.picture("trigger-form")
        window.open(f"{stack.address}/dags/things/runs/{run}/tasks/text-v1.report/xcom")
        window.wait_for("markdown")
        window.picture("report")


def test_a_gate_turns_the_run_red_and_says_why(stack: Stack, collections: Path) -> None:
    write_things(collections, blank=20)
    run = stack.trigger("things")
    assert stack.wait_for("things", run) == "failed"
    (failed,) = [t for t in stack.tasks("things", run) if t["state"] == "failed"]
    assert (failed["task_id"], failed["try_number"]) == ("text-v1.validate", 1)
    log = stack.log("things", run, "text-v1.validate")
    first = next(line["event"] for line in log if line.get("level") in ("error", "critical"))
    assert "max_reject_share" in first, log
    until(lambda: Webhook.told, 30, "the webhook is told")
    assert [(told["task"], told["try"]) for told in Webhook.told] == [("text-v1.validate", 1)]
    assert "max_reject_share" in Webhook.told[0]["text"]
    served = json.loads(stack.python("-m", "pipeline", "releases", "things/text", "--json"))
    assert json.dumps(served).count('"current"') == 1
    write_things(collections)


def test_ctrl_c_ends_all_of_it_and_it_starts_again(
    stack: Stack, place: Path, collections: Path
) -> None:
    run = stack.trigger("things")
    until(lambda: stack.tasks("things", run)[0]["state"] == "running", 120, "a task runs")
    sessions = {part["pid"] for part in stack.parts.values()}
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(90) == 0
    assert not [p for p in psutil.process_iter() if _session(p) in sessions]
    with running(stack.folder, collections, "--executor", "local") as again:
        assert again.password == stack.password
        assert again.wait_for("things", run) == "success"
