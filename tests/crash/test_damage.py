"""Flipped bits, cut, overwritten and deleted files: found, and mended from what is left."""

from __future__ import annotations

import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.crash.forks import Servers
from tests.crash.share import EVERY, first, share

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

CASES = {"part": 90, "manifest": 60, "rejects": 40, "pointer": 30, "lance": 140}
HOW = ("flip", "flip", "flip", "cut", "zero", "delete")


@pytest.fixture(scope="module")
def cases(servers: Servers, prepared: Path) -> list[dict[str, Any]]:
    chance = random.Random(int(os.environ.get("COMMONSPACE_SEED", "1")))
    files = servers.ask("damage:files", str(prepared))
    wanted = [
        (str(prepared), kind, files[kind][n % len(files[kind])],
         HOW[n // len(files[kind]) % len(HOW)], chance.randrange(2**32))
        for kind, count in CASES.items()
        for n in range(count)
    ]  # fmt: skip
    with ThreadPoolExecutor(servers.count) as pool:
        played = wanted[first() - 1 :: EVERY]
        return list(pool.map(lambda case: servers.ask("damage:play", *case), played))


def of(cases: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [case for case in cases if case["kind"] in kinds]


def noticed(answer: dict[str, Any]) -> bool:
    """Whether it refused with an error of ours."""
    return "error" in answer


def test_there_are_enough(cases: list[dict[str, Any]], found: list[str]) -> None:
    counts = Counter(f"{case['kind']} {case['how']}" for case in cases)
    found.append(f"damage: {len(cases)} cases ({', '.join(f'{n} {c}' for c, n in counts.items())})")
    assert len(cases) >= share(300)


def test_nobody_dies_of_it(cases: list[dict[str, Any]]) -> None:
    steps = ("verify", "parquet", "lance", "repair", "next")
    bad = [
        (c["case"], s, c[s]) for c in cases for s in steps if not c[s].keys() & {"answer", "error"}
    ]
    assert not bad, bad[:5]


def test_verify_finds_it(cases: list[dict[str, Any]], found: list[str]) -> None:
    """All of it but what says nothing in a LanceDB file: then every row is right all the same."""
    silent = [case for case in cases if case["verify"] == {"answer": []}]
    lost = [c["case"] for c in silent if c["kind"] != "lance" or c["lance"] != {"answer": "right"}]
    harmless = len(silent) - len(lost)
    found.append(
        f"damage: verify found {len(cases) - len(silent)} of {len(cases)}; {harmless} in LanceDB "
        f"files hurt no row, {len(lost)} missed"
    )
    assert not lost, lost[:10]


def test_readers_refuse_damaged_parts_and_manifests(cases: list[dict[str, Any]]) -> None:
    given = [c for c in of(cases, "part", "manifest", "rejects") if not noticed(c["parquet"])]
    fine = ({"answer": "right"}, {"answer": "refused"})
    wrong = [(c["case"], c["parquet"]) for c in given if c["parquet"] not in fine]
    assert not wrong, wrong[:5]


def test_the_index_is_always_repaired(cases: list[dict[str, Any]]) -> None:
    left = [
        (c["case"], c["repair"]) for c in of(cases, "lance") if c["repair"] != {"answer": "whole"}
    ]
    assert not left, left[:5]


def test_the_next_run_builds_nothing_on_it(cases: list[dict[str, Any]]) -> None:
    """After the repair: right, or refused; never a wrong release."""
    wrong = [
        (c["case"], c["repair"], c["next"])
        for c in cases
        if c["next"] not in ({"answer": "right"}, {"answer": "refused"}) and not noticed(c["next"])
    ]
    assert not wrong, wrong[:5]
