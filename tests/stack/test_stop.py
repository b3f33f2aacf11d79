"""Ctrl-C ends the stack of all tests, so this comes last; with LocalExecutor, it starts again."""

from __future__ import annotations

import signal

import pytest

from infra.stack.part import members
from tests.stack.client import Stack, until
from tests.stack.running import running
from tests.stack.sources import write_collections as write_collections

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1200)]


def test_ctrl_c_ends_all_of_it_and_it_starts_again(stack: Stack, promoted: str) -> None:
    """The run that was cut off ends well; the bucket is gone, a folder takes its place."""
    stack.switch("careful", on=False)
    run = stack.trigger("things")
    until(lambda: stack.tasks("things", run)[0]["state"] == "running", 120, "a task runs")
    sessions = {part["pid"] for part in stack.parts.values()}
    assert all(members(session) for session in sessions)
    stack.process.send_signal(signal.SIGINT)
    assert stack.process.wait(90) == 0
    assert not any(members(session) for session in sessions)
    with running(stack.folder, stack.collections, "--executor", "local") as again:
        assert again.password == stack.password
        assert sorted(again.parts) == [
            "api-server",
            "dag-processor",
            "postgres",
            "scheduler",
            "triggerer",
        ]
        assert again.wait_for("things", run) == "success"
        again.python("-m", "commonspace", "verify", "things/text")
