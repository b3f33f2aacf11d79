"""The web page in a real browser, as a person looks at it; its pictures are kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack.browser import Browser, browser, programs
from tests.stack.client import Stack, until
from tests.stack.running import REPOSITORY
from tests.stack.sources import write_collections as write_collections

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        programs() is None,
        reason="THE WEB PAGE WAS NOT LOOKED AT: no browser and driver are installed "
        "(on Debian: apt-get install chromium chromium-driver)",
    ),
]
PICTURES = REPOSITORY / "build/pictures"


@pytest.fixture(scope="module")
def window(stack: Stack, promoted: str, asked: str) -> Iterator[Browser]:
    """Signed in."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with browser(PICTURES) as opened:
        opened.open(f"{stack.address}/")
        opened.type("input[name=username]", "admin")
        opened.type("input[name=password]", stack.password)
        opened.click("button[type=submit]")
        opened.wait_for("Asset Event")
        opened.picture("home")
        yield opened


def test_a_person_is_asked(stack: Stack, window: Browser, asked: str) -> None:
    address = f"{stack.address}/dags/careful/runs/{asked}/tasks/text-v1.approve"
    window.open(f"{address}/required_actions")
    window.wait_for("Promote careful/text/v1 to release 1?")
    window.wait_for("30 rows")
    window.picture("approval")


def test_a_collection_says_what_it_is(stack: Stack, window: Browser) -> None:
    window.open(f"{stack.address}/dags/things")
    window.wait_for("search-team")
    window.picture("dag")
    window.press("Dag Docs")
    window.wait_for("Things that happened")
    window.picture("docs")


def test_a_run_leaves_a_report(stack: Stack, window: Browser, promoted: str) -> None:
    window.open(f"{stack.address}/dags/things/runs/{promoted}/tasks/text-v1.report")
    window.wait_for("release 1, promoted")
    window.wait_for("No rejects.")
    window.picture("report")


def test_the_form_starts_what_it_says(stack: Stack, window: Browser) -> None:
    """A dry run of one item."""
    known = len(stack.runs("things", "manual"))
    window.open(f"{stack.address}/dags/things")
    window.press("Trigger")
    window.wait_for("Only plan")
    window.type("#element_ids", "i1")
    window.click("input[name=element_dry_run]")
    window.picture("trigger-form")
    window.press("Trigger", which=-1)
    until(lambda: len(stack.runs("things", "manual")) > known, 60, "the form starts a run")
    run = max(stack.runs("things", "manual"), key=lambda run: str(run["queued_at"]))
    assert (run["conf"]["ids"], run["conf"]["dry_run"]) == (["i1"], True)
    assert stack.wait_for("things", run["dag_run_id"]) == "success"
    states = {t["task_id"]: t["state"] for t in stack.tasks("things", run["dag_run_id"])}
    assert (states["text-v1.plan"], states["text-v1.publish"]) == ("success", "skipped")
    window.open(f"{stack.address}/dags/things/runs/{run['dag_run_id']}/tasks/text-v1.plan")
    window.wait_for("Encoding:")
    window.picture("dry-run")
