"""The collection file: what it means, and what is left out of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.protocol import FACTS
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.column_names import RESERVED
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.pull.items import items_schema
from tests.pipeline.config.books import GOOD, Load, Mistakes, changed
from tests.support.checkout import REPOSITORY


def test_a_good_file_is_what_it_says(load: Load, tmp_path: Path) -> None:
    found = load(GOOD)
    assert found.name == "books"
    assert found.collection.description == "Books: é 🐳"
    assert found.source.metadata == {"title": "string", "pages": "int64"}
    assert found.source_uri == str(tmp_path / "raw/day={partition}/*.parquet")
    assert found.source.image_root == str(tmp_path / "covers")
    assert [space.modality for space in found.space] == ["text", "text", "image"]
    assert found.gates.max_reject_share == 0
    assert found.run.shard_rows == 100
    assert found.find_space("blurb").version == 2
    assert found.find_space("blurb", 1).encoder == "hashed/64"
    reference = found.encoder_reference(found.find_space("cover"))
    assert (reference.name, reference.modality) == ("torchvision/resnet50", "image")
    assert reference.weights == str(tmp_path / "weights/net.safetensors")
    assert found.encoder_reference(found.find_space("blurb")).name == str(tmp_path / "model")


def test_a_good_file_round_trips(load: Load) -> None:
    found = load(GOOD)
    written = found.model_dump(mode="json")
    declared = tomllib.loads(GOOD)
    for section in ("collection", "gates", "run"):
        assert written[section].items() >= declared[section].items()
    assert Collection.model_validate({**found.model_dump(), "path": found.path}) == found
    assert load(GOOD) == found


def test_what_is_left_out_has_a_default(load: Load) -> None:
    text = """
    collection = {name = "books", owner = "me"}
    source = {kind = "folder", uri = "."}
    space = [{name = "t", encoder = "hashed", fields = ["text"]}]
    """
    found = load(text)
    assert (found.space[0].version, found.collection.schedule) == (1, None)
    assert found.source_uri == str(found.path.parent)
    assert 0 < found.gates.max_reject_share < found.gates.max_deleted_share < 1
    assert found.run.shard_rows > 0


def test_a_list_of_metadata_is_of_strings(load: Load) -> None:
    text = GOOD.replace("[source.metadata]\n", "").replace('pages = "int64"\n', "")
    text = text.replace('title = "string"', 'metadata = ["title", "Größe", "a b"]')
    assert load(text).source.metadata == dict.fromkeys(["title", "Größe", "a b"], "string")


def test_a_byte_order_mark_and_dos_lines_are_no_mistake(load: Load) -> None:
    assert load(GOOD.encode("utf-8-sig").replace(b"\n", b"\r\n")).name == "books"


def test_paths_resolve_against_the_file_wherever_we_are(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(GOOD)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = load_collection(Path("../books.toml"))
    assert found.source_uri == str(tmp_path / "raw/day={partition}/*.parquet")
    assert found.source.image_root == str(tmp_path / "covers")
    monkeypatch.setenv("HOME", "/home/me")
    uri = 'uri = "raw/day={partition}/*.parquet"'
    assert load(changed(uri, 'uri = "/raw/*.parquet"')).source_uri == "/raw/*.parquet"
    assert load(changed(uri, 'uri = "~/raw.parquet"')).source_uri == "/home/me/raw.parquet"
    nobody = load(changed(uri, 'uri = "~nobody-of-that-name/x"')).source_uri
    assert nobody == str(tmp_path / "~nobody-of-that-name/x")
    assert load(changed(uri, 'uri = "../x/./y"')).source_uri == str(tmp_path.parent / "x/y")


@pytest.mark.parametrize(
    "name", ["Books", "a b", "a/b", "..", "a__b", "-a", "a-", "a.b", "é", "a\n", "x" * 65, "a-_b"]
)
def test_names_fit_files_tables_and_urls(name: str, mistakes: Mistakes) -> None:
    written = name.replace("\n", "\\n")
    found = mistakes(changed('name = "books"', f'name = "{written}"'))
    assert any(line.startswith("collection.name: must be lower-case") for line in found)
    found = mistakes(changed('name = "cover"', f'name = "{written}"'))
    assert any(line.startswith("space[2].name: must be lower-case") for line in found)


def with_columns(*names: str) -> str:
    lines = "".join(f'"{name}" = "string"\n' for name in names)
    return changed("[source.metadata]\n", f"[source.metadata]\n{lines}")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Genre", "genre"), ("Straße", "STRASSE"), ("caf\u00e9", "cafe\u0301"), ("ΣΑΣ", "σας")],
)
def test_no_two_columns_differ_only_in_case(
    one: str, other: str, load: Load, mistakes: Mistakes
) -> None:
    assert one in load(with_columns(one)).source.metadata
    line = mistakes(with_columns(one, other))[1]
    assert line.startswith("source.metadata: many readers cannot tell these names apart: ")
    assert line.endswith(", ".join(sorted([one, other])))


@pytest.mark.parametrize("name", ["ID", "Vector", "TOKENS_USED", "Similarity", "iD"])
def test_columns_of_ours_are_reserved_in_any_case(name: str, mistakes: Mistakes) -> None:
    found = mistakes(with_columns(name))[1:]
    assert found == [f"source.metadata: these names are reserved: {name}"]


@pytest.mark.parametrize(
    ("newest", "kind", "problem"),
    [
        ("at", "bool", "`newest` names 'at', a bool, which says no order"),
        ("att", "int64", "`newest` names 'att', no column of `metadata` (did you mean 'at'?)"),
    ],
)
def test_the_newest_record_is_told_by_a_column_that_has_an_order(
    newest: str, kind: str, problem: str, load: Load, mistakes: Mistakes
) -> None:
    def declared(name: str, kind: str) -> str:
        head = "[source.metadata]\n"
        return changed(head, f'newest = "{name}"\n{head}at = "{kind}"\n')

    assert mistakes(declared(newest, kind))[1:] == [f"source: {problem}"]
    for ordered in ("timestamp", "int64", "float64", "string"):
        assert load(declared("at", ordered)).source.newest == "at"


def test_every_column_of_ours_is_reserved() -> None:
    ours = {name for facts in FACTS.values() for name in facts}
    ours |= {*items_schema([], {}).names, "digest"}
    assert ours <= RESERVED


def test_no_metadata_column_doubles_one_of_a_release(load: Load) -> None:
    from commonspace.encoders import catalog
    from commonspace.pipeline.contract.contract import Contract
    from commonspace.pipeline.contract.name import SpaceName

    found = load(GOOD)
    for name in ("blurb", "cover"):
        space = found.find_space(name, 1)
        reference = {"name": "hashed/64", "modality": space.modality}
        spec = catalog.describe(type(found.encoder_reference(space))(**reference))
        schema = Contract.of(SpaceName("books", name, 1), spec, {"title": "string"}).schema
        assert set(schema.names) - {"title"} <= RESERVED


def test_loading_a_collection_is_light(tmp_path: Path) -> None:
    """A scheduler reads every file every few seconds: no Arrow, no NumPy, no torch."""
    (tmp_path / "books.toml").write_text(GOOD, encoding="utf-8")
    script = (
        "import sys; from pathlib import Path; "
        "from commonspace.pipeline.config.files import load_collection; "
        "load_collection(Path(sys.argv[1])); "
        "print([n for n in ('numpy', 'pyarrow', 'torch', 'lancedb') if n in sys.modules])"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "books.toml")]
    done: Any = subprocess.run(
        arguments, capture_output=True, text=True, check=False,
        cwd=REPOSITORY, env=dict(os.environ),
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr
