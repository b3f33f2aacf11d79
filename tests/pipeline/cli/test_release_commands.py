"""The verbs of a release's life as a person and a script meet them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commonspace.pipeline.cli import tables
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse


@pytest.fixture(autouse=True)
def wide_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "console", Console(width=160))


def rows(count: int) -> list[dict[str, Any]]:
    """Items whose ids look like markup."""
    return [{"id": f"[b]i{n}", "text": f"text of item {n}"} for n in range(count)]


def test_a_life(warehouse: Warehouse, command: CommandLine) -> None:
    for number in (1, 2, 3):
        warehouse.collection(rows(number))
        command("run", "things")
    warehouse.collection(rows(4))
    code, out, _ = command("run", "things", "--no-promote", "--json")
    assert json.loads(out)[0]["state"] == "candidate"
    code, out, _ = command("releases", "things/text")
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["1", "retired"], ["2", "retired"], ["3", "current"], ["4", "candidate"],
    ]  # fmt: skip
    assert "+1 ~0 -0" in out
    code, out, _ = command("search", "things/text", "--id", "[b]i3", "--release", "4", "--json")
    assert (code, json.loads(out)["release"], len(json.loads(out)["hits"])) == (0, 4, 3)
    code, out, _ = command("promote", "things/text")
    assert (code, out) == (0, "things/text/v1 serves release 4, release 3 before\n")
    code, _, err = command("promote", "things/text", "2")
    assert code == 2
    assert "commonspace rollback things/text/v1 2" in err
    code, out, _ = command("changes", "things/text", "--since", "2")
    assert "2 added" in out
    assert "+ [b]i2" in out
    code, out, err = command("rollback", "things/text", "--reason", "[b]wrong", "--json")
    held = json.loads(out).pop("held")
    assert json.loads(out) == {
        "space": "things/text/v1", "release": 3, "before": 4, "moved": True, "held": held,
        "lifted": None,
    }  # fmt: skip
    assert held["reason"] == "[b]wrong"
    assert "`commonspace promote things/text/v1 [RELEASE]` lifts the hold" in err
    code, out, err = command("run", "things")
    assert (code, "HELD" in out, "HELD" in err) == (0, True, True)
    for verb in (("releases", "things/text"), ("show",)):
        code, out, _ = command(*verb)
        assert (code, "held" in out.lower()) == (0, True)
    code, out, _ = command("pin", "things/text", "1", "--reason", "[i]paper")
    assert out == "things/text/v1 release 1 is kept: [i]paper\n"
    code, out, _ = command("retain", "things", "--keep", "1", "--dry-run", "--json")
    assert json.loads(out)[0]["removed"] == [2]
    code, out, _ = command("retain", "--keep", "1")
    assert "1 (pinned), 3 (current), 4 (one of the last 1)" in out
    code, out, err = command("files", "things/text", "--release", "2", "--json")
    assert (code, json.loads(out)["error"]) == (2, "NotPublished")
    assert "kept: 1, 3 to 4" in err
    assert command("unpin", "things/text", "1")[0] == 0
    assert command("unpin", "things/text", "1")[0] == 2


def test_a_damaged_manifest_hides_no_other(
    warehouse: Warehouse, command: CommandLine, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        warehouse.collection(rows(number))
        command("run", "things")
    command("pin", "things/text", "2", "--reason", "paper")
    folder = tmp_path / "warehouse/things/text/v1/releases"
    for broken, states in ((2, "retired damaged current"), (3, "retired damaged damaged")):
        (folder / f"{broken:06}.json").write_text("{}")
        code, out, err = command("releases", "things/text")
        assert (code, [line.split()[1] for line in out.splitlines()[2:]]) == (1, states.split())
        assert f"things/text/v1/releases/{broken:06}.json: is damaged" in err
    code, out, _ = command("releases", "things/text", "--json")
    one = json.loads(out)["releases"][1]
    assert (code, one["state"], one["rows"], one["pinned"]) == (1, "damaged", None, "paper")
    assert one["promoted_at"] is not None


def test_retiring(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.collection(rows(2))
    command("run", "things")
    code, _, err = command("retire", "things/text")
    assert code == 2
    assert "things/text/v1" in err
    code, out, _ = command("retire", "things/text/v1", "--reason", "see v2")
    assert out.endswith(": see v2\n")
    with pytest.warns(FutureWarning, match="see v2"):
        assert command("files", "things/text")[0] == 0
    code, _, err = command("run", "things")
    assert code == 2
    assert "--undo" in err
    assert command("retire", "things/text/v1", "--undo")[0] == 0
    assert command("run", "things")[0] == 0
    code, _, err = command("retire", "things/nothing/v1")
    assert (code, "has no promoted release" in err) == (2, True)


def test_a_conflict_is_no_mistake(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.collection(rows(1))
    command("run", "things")
    for number in (2, 3):
        warehouse.collection(rows(number))
        command("run", "things", "--no-promote")
    command("promote", "things/text")
    code, out, err = command("promote", "things/text", "2", "--json")
    answer = json.loads(out)
    assert (code, answer["error"], answer["retry"]) == (1, "Conflict", False)
    assert "release 2 follows release 1, but release 3 has been promoted" in err
    advice = re.search("`commonspace (run .*)` makes a new candidate", answer["do"])
    assert advice is not None
    warehouse.collection(rows(4))
    assert command(*advice[1].split())[0] == 0  # the advice can be typed as it stands
    assert command("promote", "things/text")[1].startswith("things/text/v1 serves release 4")
