"""The collection file: what it means, and what each mistake in it is told as."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.protocol import FACTS
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import (
    collection_files,
    collections_folder,
    find_collection,
    load_collection,
    warehouse_address,
)
from commonspace.pipeline.config.sections import RESERVED
from commonspace.pipeline.errors import UserMistake, did_you_mean
from commonspace.pipeline.pull.items import items_schema
from tests.support.checkout import REPOSITORY

GOOD = """
[collection]
name = "books"
owner = "search-team"
schedule = "@daily"
description = "Books: é 🐳"
promote = "manual"
keep_releases = 5

[source]
kind = "parquet"
uri = "raw/day={partition}/*.parquet"
id = "book_id"
image_root = "covers"

[source.metadata]
title = "string"
pages = "int64"

[[space]]
name = "blurb"
version = 2
encoder = "./model"
fields = ["title", "blurb"]

[[space]]
name = "blurb"
encoder = "hashed/64"
fields = ["blurb"]

[[space]]
name = "cover"
encoder = "torchvision/resnet50"
weights = "weights/net.safetensors"
image = "cover_path"

[gates]
max_reject_share = 0
max_deleted_share = 1.0
max_duplicate_vectors = 0.1
max_drift = 1.0
min_golden_recall = 0.5
spot_rows = 4
min_index_recall = 0.9

[run]
shard_rows = 100
"""

Load = Callable[[str | bytes], Collection]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def run(text: str | bytes) -> Collection:
        path = tmp_path / "books.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_collection(path)

    return run


@pytest.fixture
def mistakes(load: Load) -> Callable[[str | bytes], list[str]]:
    """The lines of the one message that a file's mistakes are told in."""

    def run(text: str | bytes) -> list[str]:
        with pytest.raises(UserMistake) as error:
            load(text)
        assert error.value.exit_code == 2
        assert error.value.item
        assert error.value.item.endswith("books.toml")
        told = str(error.value)
        assert "pydantic" not in told
        assert "Section" not in told
        assert "Value error" not in told
        return [line.strip() for line in told.splitlines()]

    return run


Mistakes = Callable[[str | bytes], list[str]]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


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
    ("old", "new", "expected"),
    [
        ("[run]", "[rum]", "rum: unknown key (did you mean 'run'?)"),
        ("[gates]", "[gate]", "gate: unknown key (did you mean 'gates'?)"),
        ('owner = "s', 'ownr = "s', "collection.ownr: unknown key (did you mean 'owner'?)"),
        ('kind = "p', 'kimd = "p', "source.kimd: unknown key (did you mean 'kind'?)"),
        ("image_root =", "imageroot =", "source.imageroot: unknown key (did you mean 'image_root'"),
        ("version = 2", "verzion = 2", "space[0].verzion: unknown key (did you mean 'version'?)"),
        ("image = ", "imagge = ", "space[2].imagge: unknown key (did you mean 'image'?)"),
        (
            "max_reject_share",
            "max_rejects",
            "gates.max_rejects: unknown key (did you mean 'max_rej",
        ),
        ("shard_rows", "rows", "run.rows: unknown key (did you mean 'shard_rows'?)"),
        (
            "shard_rows",
            "zzzz",
            "run.zzzz: unknown key (known: parallel_runs, pool, queue, shard_rows)",
        ),
        ("[collection]", 'path = "x"\n[collection]', "path: unknown key (known: collection, gat"),
        ('owner = "search-team"', "", "collection.owner: is required"),
        ('kind = "parquet"', "", "source.kind: is required"),
        ('uri = "raw/day={partition}/*.parquet"', "", "source.uri: is required"),
        ('encoder = "./model"', "", "space[0].encoder: is required"),
        ('id = "book_id"', "", "source: a parquet source needs `id`"),
        ('id = "book_id"', "id = 7", "source.id: input should be a valid string, not 7"),
        ('kind = "parquet"', 'kind = "sql"', "source.kind: input should be 'folder', 'csv', 'jso"),
        ('uri = "raw/day={partition}/*.parquet"', 'uri = ""', "source.uri: string should have at"),
        ('uri = "raw/', 'uri = "s3://raw/', "source.uri: must be a path"),
        ('"covers"', '"s3://covers"', "source.image_root: must be a path"),
        ('"covers"', "7", "source.image_root: input should be a valid string, not 7"),
        ('pages = "int64"', 'pages = "int"', "source.metadata.pages: input should be 'string', "),
        ('pages = "int64"', "pages = 7", "source.metadata.pages: input should be 'string'"),
        ('pages = "int64"', 'run = "int64"', "source.metadata: these names are reserved: run"),
        ('pages = "int64"', '"a.b" = "int64"', "source.metadata: a table cannot have these colum"),
        ('pages = "int64"', '_rowid = "int64"', "source.metadata: a table cannot have these col"),
        ('pages = "int64"', '"" = "int64"', "source.metadata: a table cannot have these columns"),
        ("version = 2", "version = 0", "space[0].version: input should be greater than or equal "),
        ("version = 2", "version = 1", "space: two spaces have the same name and version"),
        ("version = 2", 'version = "2"', "space[0].version: input should be a valid integer, not"),
        ("version = 2", "version = true", "space[0].version: input should be a valid integer, n"),
        ("version = 2", "version = 2.0", "space[0].version: input should be a valid integer, no"),
        ('fields = ["title", "blurb"]', "", "space[0]: a space needs exactly one of `fields` ("),
        ('fields = ["title", "blurb"]', "fields = []", "space[0]: a space needs exactly one of"),
        ('image = "cover_path"', "", "space[2]: a space needs exactly one of"),
        ('image = "cover_path"', 'image = "c"\nfields = ["t"]', "space[2]: a space needs exactly"),
        ('fields = ["title", "blurb"]', 'fields = "title"', "space[0].fields: must be a list, no"),
        ('fields = ["title", "blurb"]', "fields = [1]", "space[0].fields[0]: input should be a"),
        ("shard_rows = 100", "shard_rows = 0", "run.shard_rows: input should be greater than or"),
        ("share = 1.0", "share = 1.1", "gates.max_deleted_share: input should be less than or e"),
        ("share = 1.0", "share = -0.1", "gates.max_deleted_share: input should be greater than"),
        ("share = 1.0", "share = nan", "gates.max_deleted_share: input should be"),
        ("share = 1.0", 'share = "1%"', "gates.max_deleted_share: input should be a valid numbe"),
        ('name = "books"', 'name = ""', "collection.name: must be lower-case letters and digits"),
        ('name = "books"', "name = 7", "collection.name: input should be a valid string"),
        ("[run]\nshard_rows = 100", "", None),
        ('schedule = "@daily"', "schedule = 1", "collection.schedule: input should be a valid st"),
    ],
)
def test_each_mistake_is_named(
    old: str, new: str, expected: str | None, load: Load, mistakes: Mistakes
) -> None:
    if expected is None:
        assert load(changed(old, new)).name == "books"
        return
    found = mistakes(changed(old, new))
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    "name", ["Books", "a b", "a/b", "..", "a__b", "-a", "a-", "a.b", "é", "a\n", "x" * 65, "a-_b"]
)
def test_names_fit_files_tables_and_urls(name: str, mistakes: Mistakes) -> None:
    written = name.replace("\n", "\\n")
    found = mistakes(changed('name = "books"', f'name = "{written}"'))
    assert any(line.startswith("collection.name: must be lower-case") for line in found)
    found = mistakes(changed('name = "cover"', f'name = "{written}"'))
    assert any(line.startswith("space[2].name: must be lower-case") for line in found)


CSV = """
collection = {{name = "books", owner = "me"}}
source = {{kind = "{kind}", uri = "x", {more}}}
space = [{{name = "t", encoder = "hashed", fields = ["text"]}}]
"""


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("csv", "", "source: a csv source needs `id`"),
        ("jsonl", 'id = ""', "source: a jsonl source needs `id`"),
        ("csv", 'id = "a", delimiter = ""', "source.delimiter: string should have at least 1"),
        ("csv", 'id = "a", delimiter = ";;"', "source.delimiter: string should have at most 1"),
        ("csv", 'id = "a", delimiter = \'"\'', "source.delimiter: cannot be a quote"),
        ("csv", 'id = "a", delimiter = "\\n"', "source.delimiter: cannot be a quote"),
        ("csv", 'id = "a", columns = ["a", "a"]', "source.columns: must be distinct names"),
        ("csv", 'id = "a", columns = []', "source.columns: must be distinct names"),
        ("csv", 'id = "a", columns = "a"', "source.columns: must be a list, not 'a'"),
        ("csv", 'id = "a", metadata = [["a"]]', "source.metadata: input should be a valid dict"),
        ("csv", 'id = "a", metadata = [{a = 1}]', "source.metadata: input should be a valid dict"),
        ("csv", 'id = "a", metadata = "b"', "source.metadata: input should be a valid dictiona"),
        ("csv", 'id = "a", metadata = ["id", "vector"]', "source.metadata: these names are rese"),
        ("folder", 'id = "name"', 'source: a folder\'s `id` is "stem"'),
        ("folder", 'metadata = ["a"]', "source: a folder has no columns"),
        ("folder", 'text_suffixes = ["txt"]', 'source.text_suffixes: a suffix is written ".txt"'),
        ("folder", 'image_suffixes = [".a.b"]', "source.image_suffixes: a suffix is written"),
        ("folder", 'image_suffixes = ".jpg"', "source.image_suffixes: must be a list"),
    ],
)
def test_each_mistake_about_a_source(
    kind: str, more: str, expected: str, mistakes: Mistakes
) -> None:
    found = mistakes(CSV.format(kind=kind, more=more).replace(", }", "}"))
    assert any(line.startswith(expected) for line in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "collection: is required"),
        ("collection = 3", "collection: must be a table of keys, not 3"),
        ("source = []", "source: must be a table of keys"),
        ("space = 3", "space: is written [[space]], once for each space, not 3"),
        ("[space]\nname = 'a'", "space: is written [[space]], once for each space"),
        ("space = [3]", "space[0]: must be a table of keys, not 3"),
        ("space = []", "space: at least one [[space]] is needed"),
        ("gates = 1", "gates: must be a table of keys, not 1"),
    ],
)
def test_sections_of_the_wrong_kind(text: str, expected: str, mistakes: Mistakes) -> None:
    assert expected in mistakes(text)


def test_all_mistakes_are_told_at_once(mistakes: Mistakes) -> None:
    text = """
    [colection]
    [collection]
    name = "A"
    [source]
    kind = "csv"
    uri = 7
    metadata = ["vector"]
    sheet = 1
    [[space]]
    name = "t"
    fields = 3
    [gates]
    max_reject_share = 2
    """
    found = mistakes(text)
    keys = ["colection", "collection.name", "collection.owner", "source.uri", "source.metadata",
            "source.sheet", "space[0].encoder", "space[0].fields",
            "gates.max_reject_share"]  # fmt: skip
    for key in keys:
        assert sum(line.startswith(f"{key}: ") for line in found) == 1, (key, found)
    assert sum(": " in line for line in found[1:]) == len(keys)


@pytest.mark.parametrize(
    "data",
    [b"[collection", b"a = \n", b"\xff\xfe", b"a = 1\na = 2", b"\0", b"name: books\n",
     b"a = " + b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_toml_is_told(data: bytes, mistakes: Mistakes) -> None:
    assert "is not valid TOML" in mistakes(data)[0]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="cannot be read: No such file"):
        load_collection(tmp_path / "none.toml")
    with pytest.raises(UserMistake, match="cannot be read: Is a directory"):
        load_collection(tmp_path)


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


def test_finding_a_collection(load: Load, tmp_path: Path) -> None:
    load(GOOD)
    (tmp_path / "broken.toml").write_bytes(b"\xff[")
    (tmp_path / "deep.toml").write_bytes(b"a = " + b"[" * 100_000)
    assert find_collection("books", tmp_path).name == "books"
    assert find_collection(str(tmp_path / "books.toml")).name == "books"
    assert [path.stem for path in collection_files(tmp_path)] == ["books", "broken", "deep"]
    with pytest.raises(UserMistake, match=r"no collection 'bookz'.*did you mean 'books'"):
        find_collection("bookz", tmp_path)
    with pytest.raises(UserMistake, match="is not valid TOML"):
        find_collection("broken", tmp_path)
    with pytest.raises(UserMistake, match="no such folder"):
        find_collection("books", tmp_path / "nowhere")


def test_finding_a_space_names_the_nearest(load: Load) -> None:
    found = load(GOOD)
    with pytest.raises(UserMistake, match=r"no space 'covr'.*did you mean 'cover'"):
        found.find_space("covr")
    with pytest.raises(UserMistake, match=r"no space 'blurb' v7"):
        found.find_space("blurb", 7)


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMONSPACE_COLLECTIONS", raising=False)
    monkeypatch.delenv("COMMONSPACE_WAREHOUSE", raising=False)
    assert (collections_folder(), warehouse_address()) == (Path("dags/collections"), "./warehouse")
    monkeypatch.setenv("COMMONSPACE_COLLECTIONS", "/c")
    monkeypatch.setenv("COMMONSPACE_WAREHOUSE", "/w")
    assert (collections_folder(), warehouse_address()) == (Path("/c"), "/w")


def test_near_names_one_or_all() -> None:
    assert did_you_mean("titel", ["title", "text"]) == " (did you mean 'title'?)"
    assert did_you_mean("zzz", ["b", "a", "a"]) == " (known: a, b)"
    assert did_you_mean("zzz", []) == ""


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
