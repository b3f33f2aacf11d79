"""A folder of files: what is an item, and under which id."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.protocol import Reason
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import EVERYTHING, Record, UnreadableRecord
from tests.pipeline.source.source_records import records_of, rows_of
from tests.support.warehouse import Warehouse

Put = Callable[..., tuple[Source, list[Record | UnreadableRecord]]]


@pytest.fixture
def folder(warehouse: Warehouse, tmp_path: Path) -> Put:
    def run(*names: str, **source: Any) -> tuple[Source, list[Record | UnreadableRecord]]:
        files = {f"raw/{name}": name.encode() for name in names}
        (tmp_path / "raw").mkdir(exist_ok=True)
        opened = open_source(
            warehouse.collection(
                source={"kind": "folder", "uri": "raw", "id": "stem", **source}, files=files
            )
        )
        return opened, rows_of(opened.scan(EVERYTHING))

    return run


def kinds(rows: list[Record | UnreadableRecord]) -> dict[str, str]:
    """`id` -> which contents it has."""
    return {
        row.values["id"]: "+".join(k for k in ("text", "image") if row.values[k])
        for row in rows
        if isinstance(row, Record)
    }


def test_a_folder_pairs_a_text_and_an_image_of_one_stem(folder: Put) -> None:
    _, rows = folder("a.txt", "a.jpg", "b/a.txt", "c.PNG", "d.log", "e")
    assert kinds(rows) == {"a": "text+image", "b/a": "text", "c": "image"}
    assert rows[0].origin == "a.jpg + a.txt"


def test_two_images_of_one_stem_are_an_item_and_a_reject(folder: Put) -> None:
    _, rows = folder("a.txt", "a.jpg", "a.jpeg", "a.png")
    assert kinds(rows) == {"a": "text+image"}
    bad = [row for row in rows if isinstance(row, UnreadableRecord)]
    assert [row.failure.reason for row in bad] == [Reason.DUPLICATE_ID] * 2
    assert [row.id for row in bad] == ["a", "a"]
    assert '`id = "path"` keeps both' in bad[0].failure.message


def test_a_folder_by_path_keeps_every_file(folder: Put) -> None:
    source, rows = folder("a.txt", "a.jpg", "a.png", id="path")
    assert kinds(rows) == {"a.jpg": "image", "a.png": "image", "a.txt": "text"}
    assert list(source.load([row.locator for row in reversed(rows)])) == rows[::-1]


def test_hidden_files_and_folders_are_left_out(folder: Put) -> None:
    _, rows = folder("a.txt", ".b.txt", ".git/c.txt", "d/.e.txt", "d/f.txt", ".txt", "d/.DS_Store")
    assert kinds(rows) == {"a": "text", "d/f": "text"}


@pytest.mark.parametrize(
    ("texts", "images", "expected"),
    [
        (["*"], [".jpg"], {"a": "text", "b": "image", "c.tar": "text", "d": "text"}),
        ([".txt"], ["*"], {"a": "text", "b": "image", "c.tar": "image", "d": "image"}),
        (["*"], [], {"a": "text", "b": "text", "c.tar": "text", "d": "text"}),
        ([], [], {}),
    ],
)
def test_a_star_takes_what_the_other_list_leaves(
    texts: list[str], images: list[str], expected: dict[str, str], folder: Put
) -> None:
    _, rows = folder("a.txt", "b.jpg", "c.tar.gz", "d", text_suffixes=texts, image_suffixes=images)
    assert kinds(rows) == expected


def test_folders_that_one_uri_names_do_not_collide(folder: Put) -> None:
    source, rows = folder("1/a.txt", "2/a.txt", uri="raw/{partition}")
    assert kinds(rows) == {"1/a": "text", "2/a": "text"}
    assert [row.origin for row in rows] == ["1/a.txt", "2/a.txt"]
    loaded = records_of(source.load([row.locator for row in rows]))
    assert [row.values["text"].read_text() for row in loaded] == ["1/a.txt", "2/a.txt"]


def test_file_names_of_every_byte(folder: Put, tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path / "raw")
    (tmp_path / "raw").mkdir()
    for name in (
        b"\xff\xfe.txt",
        b"new\nline.txt",
        "é 日本 🐳.txt".encode(),
        b"a:b:3:c.txt",
        b" .txt",
    ):
        with open(os.path.join(raw, name), "wb") as file:  # noqa: PTH118, PTH123
            file.write(name)
    source, rows = folder()
    assert len(kinds(rows)) == 5
    loaded = records_of(source.load([row.locator for row in rows]))
    assert [row.values["text"].read_bytes() for row in loaded] == [
        row.values["text"].read_bytes() for row in records_of(iter(rows))
    ]


def test_a_folder_source_on_a_file_is_not_found(folder: Put) -> None:
    with pytest.raises(SourceNotFound, match="is not a folder"):
        folder("x/a.txt", uri="raw/x/a.txt")
