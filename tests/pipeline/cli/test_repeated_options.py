"""An option that is given twice: both values count, or the command is refused."""

from __future__ import annotations

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from commonspace.pipeline.cli.app import app
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse


def _options() -> list[tuple[str, list[str], bool, bool]]:
    """(verb, names, whether it takes a value, whether it takes several) of every option."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    return [
        (name, [*option.opts, *option.secondary_opts], not option.is_flag, option.multiple)  # type: ignore[attr-defined]
        for name, verb in group.commands.items()
        if isinstance(verb, TyperCommand)
        for option in verb.params
        if option.param_type_name == "option"
    ]


def test_the_verbs_are_all_here() -> None:
    assert {verb for verb, *_ in _options()} >= {"plan", "run", "search", "retain", "changes"}
    assert {names[0] for _, names, _, several in _options() if several} == {"--space", "--shard"}


@pytest.mark.parametrize(
    ("verb", "names", "takes_value"),
    [
        pytest.param(verb, names, takes_value, id=f"{verb}{names[0]}")
        for verb, names, takes_value, several in _options()
        if not several and (takes_value or len(names) > 1)
    ],
)
def test_two_values_for_one_are_refused(
    verb: str, names: list[str], takes_value: bool, command: CommandLine
) -> None:
    first, second = names[0], names[-1]
    twice = [f"{first}=1", second, "2"] if takes_value else [first, second]
    if takes_value and not first.startswith("--"):
        twice = [f"{first}1", second, "2"]
    answer = command(verb, *twice)
    assert answer.returncode == 2
    assert f"{'/'.join(names)} is given 2 times" in answer.stderr


def test_a_refusal_is_json_too(command: CommandLine) -> None:
    answer = command("run", "things", "--partition", "a", "--json", "--partition", "a", "--json")
    assert answer.returncode == 2
    assert answer.json["error"] == "UserMistake"
    assert "--partition" in answer.json["what"]


def test_a_flag_that_can_only_be_set_may_be_set_twice(
    warehouse: Warehouse, command: CommandLine
) -> None:
    warehouse.collection([{"id": "a", "text": "one text"}])
    answer = command("plan", "things", "--json", "--json")
    assert (answer.returncode, answer.json[0]["encode"]) == (0, 1)


def test_each_space_that_is_named_runs_once(warehouse: Warehouse, command: CommandLine) -> None:
    spaces = [
        {"name": name, "encoder": "hashed/16", "fields": ["text"]} for name in ("a", "b", "c")
    ]
    warehouse.collection([{"id": "1", "text": "one text"}], spaces=spaces)
    named = [f"--space={name}" for name in ("a", "b/v1", "a/v1")]
    assert [report["space"] for report in command("run", "things", *named, "--json").json] == [
        "a", "b",
    ]  # fmt: skip


def test_the_options_of_a_benchmark_are_its_own(command: CommandLine) -> None:
    answer = command("bench", "nothing", "--items", "1", "--items", "2")
    assert "there is no benchmark 'nothing'" in answer.stderr
