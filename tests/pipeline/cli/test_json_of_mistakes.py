"""With `--json`, a mistake in the options is one JSON document, too."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("search c/s a -k 2.5 --json", "Invalid value for '-k'"),
        ("search --json c/s a -k 0", "Invalid value for '-k'"),
        ("rejects c/s --release x --json", "Invalid value for '--release'"),
        ("changes c/s --since 0 --json", "Invalid value for '--since'"),
        ("promote c/s 1 2 --json", "unexpected extra argument"),
        ("verify --json", "Missing argument"),
        ("get c/s --json", "Missing argument"),
        ("show --releases --json", "No such option"),
        ("search c/s a --json --where", "requires an argument"),
        ("serch c/s a --json", "No such command 'serch'"),
        ("--json", "No such option"),
    ],
)
def test_a_mistake_in_the_options_is_json(arguments: str, says: str, command: CommandLine) -> None:
    answer = command(*arguments.split())
    assert answer.returncode == 2
    assert answer.json.keys() == {"error", "what", "item", "retry", "do"}
    assert (answer.json["error"], answer.json["retry"]) == ("UserMistake", False)
    assert says in answer.json["what"]
    assert "--help" in answer.json["do"]
    assert answer.stderr.startswith(f"commonspace: {answer.json['what']}")


def test_people_get_the_usage(command: CommandLine) -> None:
    answer = command("rejects", "c/s", "--release", "x")
    assert answer.returncode == 2
    assert not answer.stdout
    assert "Usage: " in answer.stderr
    assert "Invalid value for '--release'" in answer.stderr


def test_what_is_no_mistake_ends_as_before(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.collection([{"id": "a", "text": " "}])
    refused = command("run", "things", "--json")
    assert (refused.returncode, refused.json[0]["error"]) == (1, "GateRefused")
    warehouse.collection([{"id": "a", "text": "a"}])
    assert command("run", "things", "--json").returncode == 0
    helped = command("show", "--help", "--json")
    assert (helped.returncode, "Usage" in helped.stdout) == (0, True)
