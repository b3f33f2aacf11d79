"""One case: a copy of a prepared folder, an act that meets a fault, and what is left of it."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash import faults, subject
from tests.crash.forks import in_child


@dataclass(frozen=True)
class Scenario:
    """What is done to which prepared folder, and what readers may find before and after it."""

    start: str
    act: Callable[[Path], Any]
    before: str
    after: str
    table: bool = True
    """Whether LanceDB can be read before the act has ended."""
    check: Callable[[Path], None] = subject.balanced


SCENARIOS = {
    "first": Scenario("empty", subject.run, "nothing", "one"),
    "next": Scenario("base", subject.run, "one", "two"),
    "deletes": Scenario("fewer", subject.run, "one", "three"),
    "columns": Scenario("narrow", subject.run, "one", "four"),
    "recipe": Scenario("early", subject.run, "one", "two", check=subject.completed),
    "returning": Scenario("returning", subject.run, "three", "one"),
    "repair": Scenario("damaged", subject.repair, "one", "one", table=False),
    "rollback": Scenario("history", subject.rollback, "two", "one"),
    "retain": Scenario("history", subject.retain, "two", "two", check=subject.retained),
}


def prepare(place: str) -> None:
    """The starts of all scenarios, and the states that readers may find."""
    folder = Path(place)
    for state in ("empty", "base"):
        (folder / state).mkdir()
        subject.write_source(folder / state, 1)
    _must(in_child(subject.run, folder / "base"))
    _must(in_child(subject.keep_rows, folder / "base", folder / "one.arrow"))
    for start in ("fewer", "narrow"):
        shutil.copytree(folder / "base", folder / start)
    subject.write_source(folder / "base", 2)
    shutil.copytree(folder / "base", folder / "early")
    subject.forget_recipe(folder / "early")
    subject.write_source(folder / "fewer", 3)
    subject.write_source(folder / "narrow", 4)
    for start, ended, state in (
        ("base", "history", "two"),
        ("fewer", "shrunk", "three"),
        ("narrow", "wide", "four"),
    ):
        shutil.copytree(folder / start, folder / ended)
        _must(in_child(subject.run, folder / ended))
        _must(in_child(subject.keep_rows, folder / ended, folder / f"{state}.arrow"))
    shutil.copytree(folder / "shrunk", folder / "returning")
    subject.write_source(folder / "returning", 1)
    for state in (3, 1, 2):
        subject.write_source(folder / "history", state)
        _must(in_child(subject.run, folder / "history"))
    shutil.copytree(folder / "base", folder / "damaged")
    for data in (folder / "damaged/warehouse/lancedb").rglob("data/*.lance"):
        data.write_bytes(data.read_bytes()[:-100])


def play(place: str, name: str, text: str) -> dict[str, Any]:
    """The whole case; `problems` is empty where everything held."""
    prepared, scenario, fault = Path(place), SCENARIOS[name], faults.Fault.parse(text)
    with tempfile.TemporaryDirectory(dir=prepared) as scratch:
        folder, log = Path(scratch, "copy"), Path(scratch, "log")
        shutil.copytree(prepared / scenario.start, folder)
        met = in_child(_act, scenario, folder, fault, log)
        calls = log.read_text().splitlines() if log.exists() else []
        ended, problems = _judge(met, fault, len(calls))
        problems += in_child(_afterwards, scenario, folder, prepared, ended).get("answer") or []
        last = in_child(_recovered, scenario, folder, prepared)
        problems += last.get("answer", [f"recovering: {last}"])
    return {
        "case": f"{name}:{fault}",
        "ended": ended,
        "count": len(calls),
        "hit": calls[fault.point - 1] if 0 < fault.point <= len(calls) else None,
        "said": met.get("error") or (met.get("answer") or {}).get("error"),
        "problems": problems,
        "calls": calls if fault.kind == "none" else [],
    }


def _act(scenario: Scenario, folder: Path, fault: faults.Fault, log: Path) -> Any:
    faults.arm(fault, folder / "warehouse", log)
    try:
        return scenario.act(folder)
    finally:
        faults.disarm()


def _judge(met: dict[str, Any], fault: faults.Fault, calls: int) -> tuple[str, list[str]]:
    """How the act ended, and what is wrong with that."""
    if met.get("killed") == signal.SIGKILL and fault.kind == "kill":
        return "killed", []
    if "killed" in met:
        return "killed", [f"it died of signal {met['killed']}"]
    if "raised" in met:
        return "failed", [f"it raised what is no error of ours: {met['raised']}"]
    answer = met.get("answer") or {}
    error = met.get("error") or (answer if "error" in answer else None)
    if error is not None:
        return "failed", [] if error["do"] else [f"it does not say what to do: {error}"]
    missed = fault.kind == "kill" and fault.point <= calls
    return "done", ["it was not killed"] if missed else []


def _afterwards(scenario: Scenario, folder: Path, prepared: Path, ended: str) -> list[str]:
    """What is wrong for a reader right after the act, and with what it claims to have done."""
    states = {path.stem: path for path in prepared.glob("*.arrow")}
    allowed = {scenario.after} if ended == "done" else {scenario.before, scenario.after}
    try:
        state = subject.seen(folder, states, table=scenario.table or ended == "done")
    except Exception as error:
        return [f"after it was {ended}, a reader met {error!r}"]
    problems = [] if state in allowed else [f"after it was {ended}, a reader saw {state}"]
    return problems + (subject.verify(folder) if ended == "done" else [])


def _recovered(scenario: Scenario, folder: Path, prepared: Path) -> list[str]:
    """What is wrong once the act was done again, without a fault."""
    states = {path.stem: path for path in prepared.glob("*.arrow")}
    answer = scenario.act(folder) or {}
    if "error" in answer:
        return [f"the next one failed: {answer}"]
    problems = subject.verify(folder)
    state = subject.seen(folder, states)
    if state != scenario.after:
        problems.append(f"after the next one, a reader saw {state}")
    scenario.check(folder)
    return problems


def _must(answer: dict[str, Any]) -> None:
    assert "answer" in answer, answer
    assert not (answer["answer"] or {}).get("error"), answer
