"""The verbs of a release's life as a person and a script meet them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.app import main
from tests.support.warehouse import Warehouse


@pytest.fixture
def commonspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the entry point on the test's own folder: exit code, output, messages."""
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", str(tmp_path))
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", str(tmp_path / "warehouse"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["commonspace", *arguments])
        monkeypatch.setattr(tables, "console", Console(width=160))
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"[b]i{n}", "text": f"text of item {n}"} for n in range(count)]


def test_a_life(warehouse: Warehouse, commonspace: Callable[..., tuple[int, str, str]]) -> None:
    for number in (1, 2, 3):
        warehouse.collection(rows(number))
        commonspace("run", "things")
    warehouse.collection(rows(4))
    code, out, _ = commonspace("run", "things", "--no-promote", "--json")
    assert json.loads(out)[0]["state"] == "candidate"
    code, out, _ = commonspace("releases", "things/text")
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [
        ["1", "retired"], ["2", "retired"], ["3", "current"], ["4", "candidate"],
    ]  # fmt: skip
    assert "+1 ~0 -0" in out
    code, out, _ = commonspace("search", "things/text", "--id", "[b]i3", "--release", "4", "--json")
    assert (code, json.loads(out)["release"], len(json.loads(out)["hits"])) == (0, 4, 3)
    code, out, _ = commonspace("promote", "things/text")
    assert (code, out) == (0, "things/text/v1 serves release 4, release 3 before\n")
    code, _, err = commonspace("promote", "things/text", "2")
    assert code == 2
    assert "commonspace rollback things/text/v1 2" in err
    code, out, _ = commonspace("changes", "things/text", "--since", "2")
    assert "2 added" in out
    assert "+ [b]i2" in out
    code, out, err = commonspace("rollback", "things/text", "--reason", "[b]wrong", "--json")
    held = json.loads(out).pop("held")
    assert json.loads(out) == {
        "space": "things/text/v1", "release": 3, "before": 4, "moved": True, "held": held,
        "lifted": None,
    }  # fmt: skip
    assert held["reason"] == "[b]wrong"
    assert "`commonspace promote things/text/v1 [RELEASE]` lifts the hold" in err
    code, out, err = commonspace("run", "things")
    assert (code, "HELD" in out, "HELD" in err) == (0, True, True)
    for verb in (("releases", "things/text"), ("show",)):
        code, out, _ = commonspace(*verb)
        assert (code, "held" in out.lower()) == (0, True)
    code, out, _ = commonspace("pin", "things/text", "1", "--reason", "[i]paper")
    assert out == "things/text/v1 release 1 is kept: [i]paper\n"
    code, out, _ = commonspace("retain", "things", "--keep", "1", "--dry-run", "--json")
    assert json.loads(out)[0]["removed"] == [2]
    code, out, _ = commonspace("retain", "--keep", "1")
    assert "1 (pinned), 3 (current), 4 (one of the last 1)" in out
    code, out, err = commonspace("files", "things/text", "--release", "2", "--json")
    assert (code, json.loads(out)["error"]) == (2, "NotPublished")
    assert "kept: 1, 3 to 4" in err
    assert commonspace("unpin", "things/text", "1")[0] == 0
    assert commonspace("unpin", "things/text", "1")[0] == 2


def test_a_damaged_manifest_hides_no_other(
    warehouse: Warehouse, commonspace: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        warehouse.collection(rows(number))
        commonspace("run", "things")
    commonspace("pin", "things/text", "2", "--reason", "paper")
    folder = tmp_path / "warehouse/things/text/v1/releases"
    for broken, states in ((2, "retired damaged current"), (3, "retired damaged damaged")):
        (folder / f"{broken:06}.json").write_text("{}")
        code, out, err = commonspace("releases", "things/text")
        assert (code, [line.split()[1] for line in out.splitlines()[2:]]) == (1, states.split())
        assert f"things/text/v1/releases/{broken:06}.json: is damaged" in err
    code, out, _ = commonspace("releases", "things/text", "--json")
    one = json.loads(out)["releases"][1]
    assert (code, one["state"], one["rows"], one["pinned"]) == (1, "damaged", None, "paper")
    assert one["promoted_at"] is not None


def test_retiring(warehouse: Warehouse, commonspace: Callable[..., tuple[int, str, str]]) -> None:
    warehouse.collection(rows(2))
    commonspace("run", "things")
    code, _, err = commonspace("retire", "things/text")
    assert code == 2
    assert "things/text/v1" in err
    code, out, _ = commonspace("retire", "things/text/v1", "--reason", "see v2")
    assert out.endswith(": see v2\n")
    with pytest.warns(FutureWarning, match="see v2"):
        assert commonspace("files", "things/text")[0] == 0
    code, _, err = commonspace("run", "things")
    assert code == 2
    assert "--undo" in err
    assert commonspace("retire", "things/text/v1", "--undo")[0] == 0
    assert commonspace("run", "things")[0] == 0
    code, _, err = commonspace("retire", "things/nothing/v1")
    assert (code, "was never published" in err) == (2, True)


def test_a_conflict_is_no_mistake(
    warehouse: Warehouse, commonspace: Callable[..., tuple[int, str, str]]
) -> None:
    warehouse.collection(rows(1))
    commonspace("run", "things")
    for number in (2, 3):
        warehouse.collection(rows(number))
        commonspace("run", "things", "--no-promote")
    commonspace("promote", "things/text")
    code, out, err = commonspace("promote", "things/text", "2", "--json")
    answer = json.loads(out)
    assert (code, answer["error"], answer["retry"]) == (1, "Conflict", False)
    assert "release 2 follows release 1, but release 3 has been promoted" in err
    command = re.search("`commonspace (run .*)` makes a new candidate", answer["do"])
    assert command is not None
    warehouse.collection(rows(4))
    assert commonspace(*command[1].split())[0] == 0  # the advice can be typed as it stands
    assert commonspace("promote", "things/text")[1].startswith("things/text/v1 serves release 4")
