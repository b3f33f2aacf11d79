"""Each mistake in a collection file is named, all of them at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.errors import UserMistake, did_you_mean
from tests.pipeline.config.books import Load, Mistakes, changed


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
        ('pages = "int64"', 'Run = "int64"', "source.metadata: these names are reserved: Run"),
        (
            'pages = "int64"',
            'TITLE = "int64"',
            "source.metadata: many readers cannot tell these nam",
        ),
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
        ('pages = "int64"', '"*" = "int64"', "source.metadata: these names are reserved: *"),
        ('pages = "int64"', '"digest:x" = "int64"', "source.metadata: these names are reserved"),
        ('name = "books"', 'name = "commonspace_maintenance"', "collection.name: is the name of"),
        ('"search-team"', f'"{"x" * 1001}"', "collection.owner: string should have at most 1000"),
        ('schedule = "@daily"', 'schedule_on = [""]', "collection.schedule_on[0]: string should"),
        ('schedule = "@daily"', 'schedule_on = [" a"]', "collection.schedule_on[0]: must be the n"),
        ('schedule = "@daily"', 'schedule_on = ["a\\n"]', "collection.schedule_on[0]: must be the"),
        ("shard_rows = 100", f"shard_rows = {'9' * 5000}", "is not valid TOML: an integer has mo"),
        ("shard_rows = 100", f"shard_rows = {2**63}", "run.shard_rows: is an integer of more th"),
        ("shard_rows = 100", f"shard_rows = 0x{'f' * 5000}", "run.shard_rows: is an integer of mo"),
        ('image = "cover_path"', 'image = "\\u0000"', "space[2].image: has the character NUL"),
        ('image = "cover_path"', f"image = {'[' * 9000}", "is not valid TOML: its lists or tables"),
        ('image = "cover_path"', '"a\\u0000" = 1', "space[2]: a key has the character NUL"),
        ("shard_rows = 100", f"{'k' * 9000} = 1", f"run.{'k' * 100}…: unknown key"),
        ("shard_rows = 100", f"# {'x' * 2**20}", "is larger than 1 MiB"),
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
    assert any(line.startswith(expected) or f": {expected}" in line for line in found), found


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
        ("csv", 'id = "a", escape = \'"\'', "source.escape: cannot be a quote or a line break"),
        ("csv", 'id = "a", escape = "\\n"', "source.escape: cannot be a quote or a line break"),
        ("csv", 'id = "a", escape = ","', "source: `escape` and `delimiter` cannot be the same"),
        ("csv", 'id = "a", comment = "\\n"', "source: `comment` cannot begin with a quote or"),
        ("csv", 'id = "a", comment = "#\\r"', "source: `comment` cannot begin with a quote or"),
        ("csv", 'id = "a", comment = ",#"', "source: `comment` cannot begin with a quote or"),
        ("csv", 'id = "a", comment = \'"#\'', "source: `comment` cannot begin with a quote or"),
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


FOREIGN = [
    *((kind, key, "csv") for kind in ("jsonl", "parquet", "folder")
      for key in ('escape = "!"', 'comment = "#"', 'columns = ["a"]', 'delimiter = ";"')),
    *((kind, 'encoding = "utf-16"', "csv, jsonl") for kind in ("parquet", "folder")),
    ("folder", 'image_root = "x"', "csv, jsonl, parquet"),
    *((kind, key, "folder") for kind in ("csv", "jsonl", "parquet")
      for key in ('text_suffixes = [".a"]', 'image_suffixes = ["*"]')),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "key", "kinds"), FOREIGN)
def test_a_key_of_another_kind_of_source_is_refused(
    kind: str, key: str, kinds: str, mistakes: Mistakes
) -> None:
    found = mistakes(CSV.format(kind=kind, more=_id_of(kind) + key))
    name = key.split()[0]
    expected = f"source: `{name}` belongs to {kinds} sources, and this is a {kind} source"
    assert expected in found


def test_all_keys_of_other_kinds_are_told_at_once(mistakes: Mistakes) -> None:
    more = 'id = "a", comment = "#", text_suffixes = []'
    assert (
        "source: `comment` belongs to csv sources, `text_suffixes` belongs to folder sources, and "
        "this is a jsonl source" in mistakes(CSV.format(kind="jsonl", more=more))
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "folder"])
def test_a_default_may_be_written_for_every_kind(kind: str, load: Load) -> None:
    more = _id_of(kind) + 'encoding = "utf-8", delimiter = ",", link_roots = ["x"]'
    suffixes = ', text_suffixes = [".txt", ".md", ".rst"]'
    assert load(CSV.format(kind=kind, more=more + suffixes)).source.kind == kind


def _id_of(kind: str) -> str:
    return "" if kind == "folder" else 'id = "a", '


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


def test_all_mistakes_are_reported_at_once(mistakes: Mistakes) -> None:
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
def test_what_is_no_toml_is_reported(data: bytes, mistakes: Mistakes) -> None:
    assert "is not valid TOML" in mistakes(data)[0]


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="cannot be read: No such file"):
        load_collection(tmp_path / "none.toml")
    with pytest.raises(UserMistake, match="is not a file"):
        load_collection(tmp_path)
    os.mkfifo(tmp_path / "pipe.toml")  # which nobody ever writes to
    with pytest.raises(UserMistake, match="is not a file"):
        load_collection(tmp_path / "pipe.toml")


def test_near_names_one_or_all() -> None:
    assert did_you_mean("titel", ["title", "text"]) == " (did you mean 'title'?)"
    assert did_you_mean("zzz", ["b", "a", "a"]) == " (known: a, b)"
    assert did_you_mean("zzz", []) == ""
