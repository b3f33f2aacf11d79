from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stack.client import Stack, until
from tests.stack.running import running
from tests.stack.tails import tails
from tests.stack.webhook import Webhook, listening


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may pass through; pytest's own is its owner's alone."""
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def webhook() -> Iterator[Webhook]:
    """Where the stack posts failures."""
    with listening() as found:
        yield found


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, webhook: Webhook) -> Iterator[Stack]:
    """One for all modules, with Celery workers and a bucket: starting one takes a minute.

    Each module's `write_collections` adds what it runs, before anything is parsed.
    """
    modules = {item.module for item in request.session.items if "stack" in item.fixturenames}
    with open_folder() as folder:
        collections = folder / "collections"
        collections.mkdir()
        for write in {module.write_collections for module in modules}:
            write(collections)
        options, environment = ("--warehouse", "bucket"), {"COMMONSPACE_WEBHOOK": webhook.address}
        with running(folder / "stack", collections, *options, **environment) as started:
            yield started


@pytest.fixture(scope="session")
def promoted(stack: Stack) -> str:
    """A run of `things`, which has promoted a release; `careful` listens."""
    for dag in ("careful", "things"):
        stack.switch(dag, on=True)
    run = stack.trigger("things")
    assert stack.wait_for("things", run) == "success"
    return run


@pytest.fixture(scope="session")
def asked(stack: Stack, promoted: str) -> str:
    """A run of `careful`, started by that promotion: it waits for a person, or has waited."""

    def waits() -> str | None:
        runs = stack.runs("careful", "asset_triggered")
        tasks = (
            {t["task_id"]: t for t in stack.tasks("careful", runs[0]["dag_run_id"])} if runs else {}
        )
        known = tasks.get("text-v1.approve", {}).get("start_date")
        return str(runs[0]["dag_run_id"]) if known else None

    return until(waits, 180, "a person is asked", lambda: stack.progress("careful"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Beside a failure: what the stack said last."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and stack is not None:
        report.sections.append(("the stack's logs", tails(stack.folder)))
    return report
