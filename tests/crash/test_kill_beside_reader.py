"""Random kills of many runs, in a folder and in a bucket, while a reader looks all the time."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.crash.forks import Servers
from tests.crash.share import share

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1800)]

KILLS = share(100)


def test_in_a_folder(servers: Servers, prepared: Path, found: list[str]) -> None:
    check(servers, prepared, found, "folder", {})


def test_in_a_bucket(servers: Servers, prepared: Path, found: list[str], bucket: str) -> None:
    given = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    check(servers, prepared, found, "bucket", {**given, "COMMONSPACE_WAREHOUSE": bucket})


def check(
    servers: Servers, prepared: Path, found: list[str], where: str, environment: dict[str, str]
) -> None:
    seed = random.randrange(2**32)
    reported = servers.ask("kills:play", str(prepared), KILLS, seed, environment)
    ended, saw = reported["ended"], reported["saw"]
    found.append(f"kills in a {where}, seed {seed}: {ended}; the reader saw {saw}")
    assert ended.keys() <= {"killed", "done"}, reported
    assert set(saw) <= {"one", "two", "three"}, saw
    assert sum(saw.values()) > KILLS / 10
    assert not reported["wrong"], reported
