"""What people type who have never typed it before, and what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.collection_file import TEXT_SPACE
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse, numbered_items

TITLE = {**TEXT_SPACE, "name": "title"}


def test_names_of_spaces(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.run_without_error(numbered_items(3), name="news")
    warehouse.run_spaces(numbered_items(3), name="books", spaces=[TEXT_SPACE, TITLE])
    hits = command("search", "news", "--id", "i0001", "--json").json
    assert hits["space"] == "news/text/v1", "the only space of a collection is meant"
    for name, told in {
        "news/txt": "news/txt has no promoted release in",
        "news/tex": "did you mean 'news/text'?",
        "nwes": "did you mean 'news'?",
        "news/text/v3": "did you mean 'news/text/v1'?",
        "books": "'books' is a collection of 2 spaces: books/text, books/title",
        "News/Text": "is not the name of a space",
    }.items():
        for verb in (["search", name, "query"], ["get", name, "x"], ["releases", name]):
            answer = command(*verb)
            assert answer.returncode == 2, verb
            assert told in answer.stderr, verb


def test_a_hit_of_a_folder_shows_its_file(
    warehouse: Warehouse, command: CommandLine, tmp_path: Path
) -> None:
    files = {f"notes/{name}.md": name.encode() for name in ("whale", "ship", "storm")}
    folder = {"kind": "folder", "uri": "notes", "id": None}
    warehouse.run_without_error(name="notes", source=folder, files=files)
    shown = command("search", "notes", "whale", "-k", "2").stdout
    assert "file" in shown
    assert "whale.md" in shown
    warehouse.run_without_error(numbered_items(3), name="news")
    assert "news.jsonl" not in command("search", "news", "text", "-k", "2").stdout


def test_a_second_reason_is_kept(warehouse: Warehouse, command: CommandLine) -> None:
    warehouse.run_without_error(numbered_items(3))
    for reason in ("first", "second"):
        command("pin", "things", "1", "--reason", reason)
        assert command("retire", "things/text/v1", "--reason", reason).returncode == 0
    assert command("pin", "things", "1", "--json").json["reason"] == "second"
    assert "second" in command("show", "--json").json[0]["retired"]


def test_a_warehouse_that_is_a_file(
    warehouse: Warehouse, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = warehouse.folder / "file"
    file.write_text("")
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", str(file))
    answer = command("show")
    assert answer.returncode == 2
    assert "is not a folder" in answer.stderr


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [(MemoryError, 1, "ran out of memory"), (RecursionError, 1, "nested too deeply")],
)
def test_what_python_cannot_do_is_told_in_words(
    error: type[Exception],
    code: int,
    told: str,
    command: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    Path("things.toml").write_text("")
    monkeypatch.setattr(Path, "glob", fail)
    answer = command("plan", "things", "--json")
    assert answer.returncode == code
    assert told in answer.json["what"]
    assert answer.json["do"]
