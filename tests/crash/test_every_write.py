"""Every call that changes a file is the last one, or fails: the N-th, for N = 1, 2, 3 …

As SQLite tests itself (sqlite.org/testing.html): one case a point, until the act runs untouched.
After each, a reader sees exactly the old or exactly the new release, and one more run gives
what an uninterrupted one gives. A failing point is played alone, and all points of all errors
everywhere, by

    COMMONSPACE_FAULT=next:kill:37 make crash ARGS="-k every_write"
    COMMONSPACE_FAULT=all make crash ARGS="-k every_write"

and every fourth point, from a random one on, with COMMONSPACE_CRASH_EVERY=4.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.crash.cases import SCENARIOS
from tests.crash.faults import KINDS
from tests.crash.forks import Servers
from tests.crash.share import EVERY, first, share

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

WANTED = os.environ.get("COMMONSPACE_FAULT", "")
ERRORS = [kind for kind in KINDS if kind not in ("none", "kill")]
LEAST = {("first", "kill"): 120, ("next", "kill"): 110, **{("next", kind): 100 for kind in ERRORS}}
"""How many points there must be: 230 kills and 400 errors at the least."""
STAGES = ("/items/", "/plan.parquet", "/shards/", "/parts/", "/rejects/", "/releases/", "/data/",
          "/_deletions/", "/_versions/", "/CURRENT", "/report.json")  # fmt: skip
"""What a run over a base writes, from pull to its report: each is met by some fault."""


def sweeps() -> list[tuple[str, str]]:
    if WANTED and WANTED != "all":
        return [(WANTED.split(":")[0], WANTED.split(":")[1])]
    kills = [(scenario, "kill") for scenario in SCENARIOS]
    if WANTED:
        return kills + [(scenario, kind) for scenario in SCENARIOS for kind in ERRORS]
    others = [("deletes", "eio"), ("retain", "eio")]
    return kills + [("next", kind) for kind in ERRORS] + others


@pytest.mark.parametrize(("scenario", "kind"), sweeps())
def test_every_write(
    servers: Servers, prepared: Path, found: list[str], scenario: str, kind: str
) -> None:
    if WANTED.count(":") == 2:
        played = [servers.ask("cases:play", str(prepared), scenario, WANTED.partition(":")[2])]
    else:
        played = sweep(servers, prepared, scenario, kind)
        assert len(played) >= share(LEAST.get((scenario, kind), 1))
        hits = " ".join(case["hit"] for case in played)
        if scenario == "next" and EVERY == 1:  # a share may miss the only write of a stage
            assert all(stage in hits for stage in STAGES), hits
    ended = Counter(case["ended"] for case in played)
    wrong = [case for case in played if case["problems"]]
    counts = ", ".join(f"{count} {how}" for how, count in sorted(ended.items()))
    found.append(f"{scenario}, {kind}: {len(played)} points ({counts}), {len(wrong)} wrong")
    reported = "\n".join(f"{c['case']} at {c['hit']}: {c['problems']}" for c in wrong[:10])
    assert not wrong, f"{len(wrong)} of {len(played)} points\n{reported}"


def sweep(servers: Servers, prepared: Path, scenario: str, kind: str) -> list[dict[str, Any]]:
    """One case a point, up to one that the act does not reach."""
    points, over, played = itertools.count(first(), EVERY), threading.Event(), []

    def work() -> None:
        while not over.is_set():
            point = next(points)
            case = servers.ask("cases:play", str(prepared), scenario, f"{kind}:{point}")
            if case["hit"] is None and not case["problems"]:
                over.set()
            else:
                played.append(case)

    with ThreadPoolExecutor(servers.count) as pool:
        for done in [pool.submit(work) for _ in range(servers.count)]:
            done.result()
    return played
