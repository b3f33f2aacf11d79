"""Day by day: what is listened on, what starts what, what a refusal says, who must be asked."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from infra.stack.part import members
from tests.stack.client import Stack, until
from tests.stack.sources import write_collections as write_collections
from tests.stack.sources import write_items
from tests.stack.webhook import Webhook

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]


def processes_of(stack: Stack) -> list[psutil.Process]:
    """Every process of its parts."""
    return [process for part in stack.parts.values() for process in members(part["pid"])]


def reported(what: Callable[[psutil.Process], list[Any]], process: psutil.Process) -> list[Any]:
    """What a process tells of itself; nothing where it has ended meanwhile, as tasks do."""
    try:
        return what(process)
    except psutil.NoSuchProcess:
        return []


def releases(stack: Stack, space: str) -> dict[int, str]:
    """The state of each release."""
    reported = json.loads(stack.python("-m", "commonspace", "releases", space, "--json"))
    return {one["number"]: one["state"] for one in reported["releases"]}


def test_nothing_listens_beyond_the_loopback(stack: Stack) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes_of(stack)
        for connection in reported(lambda one: one.net_connections("inet"), process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert len(listening) >= 4, "the page, the database, the broker, the bucket"


def test_secrets_are_in_files_of_their_owner_alone(stack: Stack) -> None:
    for name in ("credentials.json", "airflow-passwords.json", "airflow.env"):
        assert stat.S_IMODE((stack.folder / name).stat().st_mode) == 0o600, name
    secrets = json.loads((stack.folder / "credentials.json").read_text())
    assert len(set(secrets.values())) == len(secrets) == 8
    assert min(map(len, secrets.values())) >= 32
    logs = [stack.folder.parent / "stack.log", *(stack.folder / "logs").iterdir()]
    commands = [" ".join(reported(psutil.Process.cmdline, one)) for one in processes_of(stack)]
    for text in [*commands, *(path.read_text(errors="replace") for path in logs)]:
        assert not [name for name, secret in secrets.items() if secret in text]


def test_a_promotion_starts_what_waits_for_its_asset(
    stack: Stack, promoted: str, asked: str
) -> None:
    (event,) = stack.events_of("things")
    assert (event["source_run_id"], event["extra"]["rows"]) == (promoted, 30)
    (started,) = stack.runs("careful", "asset_triggered")
    assert started["dag_run_id"] == asked
    assert started["queued_at"] > event["timestamp"]


def test_a_gate_turns_the_run_red_and_says_why(
    stack: Stack, promoted: str, webhook: Webhook
) -> None:
    write_items(stack.collections, "things", blank=20)
    run = stack.trigger("things")
    assert stack.wait_for("things", run) == "failed"
    write_items(stack.collections, "things")
    (failed,) = [t for t in stack.tasks("things", run) if t["state"] == "failed"]
    assert (failed["task_id"], failed["try_number"]) == ("text-v1.validate", 1)
    log = stack.log("things", run, "text-v1.validate")
    first = next(line["event"] for line in log if line.get("level") in ("error", "critical"))
    assert "max_reject_share" in first, log
    until(lambda: webhook.of("things"), 30, "the webhook is told")
    (reported,) = webhook.of("things")
    assert (reported["task"], reported["try"]) == ("text-v1.validate", 1)
    assert "max_reject_share" in reported["text"]
    assert releases(stack, "things/text")[1] == "current"


def test_an_approval_that_nobody_answers_runs_out(stack: Stack, asked: str) -> None:
    assert stack.wait_for("careful", asked) == "success"
    states = {task["task_id"]: task["state"] for task in stack.tasks("careful", asked)}
    assert states["text-v1.promote"] == "skipped"
    assert states["text-v1.report"] == "success"
    assert releases(stack, "careful/text") == {1: "candidate"}, "readers see nothing of it"
    assert stack.events_of("careful") == []
