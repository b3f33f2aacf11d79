"""Every file below a folder is an item, a reject, or counted as left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.folders.source import BESIDE_FOLDERS
from commonspace.pipeline.source.notices import Notice, Notices
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.source.records import EVERYTHING, Record, Scope
from tests.support.warehouse import Warehouse

HIDDEN, NO_SUFFIX = "hidden file", 'no suffix; "*" in `image_suffixes` takes such files'
OUTSIDE = "link to a folder outside of the source; `link_roots` allows it"
OFFERED = "link to a folder whose files are offered under their own path"
AGAIN = "link to a folder that another link leads to"
UPWARD = "link to a folder that holds the source"


def scan(warehouse: Warehouse, *, scope: Scope = EVERYTHING, **source: Any) -> tuple[Any, Any]:
    """By id `ok`, or why it has no image; and the count of each notice."""
    collection = warehouse.collection(
        source={"kind": "folder", "uri": "pics", "id": "path", **source}
    )
    opened, notices = open_source(collection), Notices()
    found = {}
    records = []
    for row in opened.scan(scope):
        if isinstance(row, Record):
            image = row.values["image"]
            found[row.values["id"]] = image.message if isinstance(image, Failure) else "ok"
            records.append(row)
        elif isinstance(row, Notice):
            notices.add(row)
    loaded = list(opened.load([record.locator for record in records]))
    assert [row.values for row in loaded] == [row.values for row in records]
    return found, {count.about: count.count for count in notices.counts()}


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def ok(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "ok")


def test_files_are_counted_by_suffix_and_kind(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path / "pics", "a.JPG", "b.jfif", "c.JPE", "d.heic", "e.HIF", "f.avif", "nosuffix",
         "icon.svg", "p.jpg.part", "q.part", ".DS_Store", ".git/config", ".git/objects/a.png",
         "g/.hidden.png", "g/Thumbs.db")  # fmt: skip
    os.mkfifo(tmp_path / "pics/pipe")
    found, notices = scan(warehouse)
    assert found == ok("a.JPG", "b.jfif", "c.JPE", "d.heic", "e.HIF", "f.avif")
    assert notices == {
        "hidden file": 2, "hidden folder": 1, "suffix .svg": 1, "suffix .part": 2,
        NO_SUFFIX: 2, "suffix .db": 1,
    }  # fmt: skip


def test_suffixes_without_end_are_counted_together(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path / "pics", *(f"log.{number}" for number in range(150)), "log.7x", "a.png")
    _, notices = scan(warehouse)
    assert len(notices) == 101
    assert notices["other suffixes"] == 51


def test_a_file_name_of_any_byte_is_counted(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path / "pics", "a.png")
    os.close(os.open(os.fsencode(tmp_path / "pics") + b"/x.\xff", os.O_CREAT))
    _, notices = scan(warehouse)
    assert notices == {"suffix .\\udcff": 1}


def test_links_to_files(warehouse: Warehouse, tmp_path: Path) -> None:
    pics = tmp_path / "pics"
    fill(tmp_path, "pics/a.png", "store/b", "pics/.annex/c", "secret.png")
    for link, target in {
        "inside.png": "a.png", "annex.png": ".annex/c", "not yet.png": ".annex/later",
        "outside.png": tmp_path / "secret.png", "blob.png": "../store/b", "gone": "nowhere",
        "out and gone.png": "../nowhere/x", "round.png": "round.png",
    }.items():  # fmt: skip
        (pics / link).symlink_to(target)
    inside = ok("a.png", "annex.png", "inside.png", "not yet.png", "round.png")
    found, notices = scan(warehouse)
    outside = {name: why for name, why in found.items() if why != "ok"}
    assert {**inside, **outside} == found
    assert [*outside] == ["blob.png", "out and gone.png", "outside.png"]
    assert outside["blob.png"] == (
        "'blob.png' is a link to a file outside of the source; `link_roots` allows it"
    )
    assert notices == {"hidden folder": 1, "link that leads nowhere": 1}
    found, _ = scan(warehouse, link_roots=["store", "nowhere"])
    assert {name for name, why in found.items() if why != "ok"} == {"outside.png"}


def test_a_cache_of_snapshots_that_link_into_blobs(warehouse: Warehouse, tmp_path: Path) -> None:
    """As huggingface_hub lays out its cache."""
    fill(tmp_path, "hub/blobs/0aff", "hub/snapshots/main/readme.png")
    (tmp_path / "hub/snapshots/main/a.png").symlink_to("../../blobs/0aff")
    found, _ = scan(warehouse, uri="hub/snapshots/main")
    assert "outside of the source" in found["a.png"]
    found, _ = scan(warehouse, uri="hub/snapshots/main", link_roots=["hub/blobs"])
    assert found == ok("a.png", "readme.png")


def test_a_mount_that_links_through_a_hidden_folder(warehouse: Warehouse, tmp_path: Path) -> None:
    """As Kubernetes mounts a volume: `a.png` -> `..data/a.png`, `..data` -> `..2026_11`."""
    fill(tmp_path / "pics", "..2026_11/a.png", "..2026_11/sub/b.png")
    for link, target in {"..data": "..2026_11", "a.png": "..data/a.png", "s": "..data/sub"}.items():
        (tmp_path / "pics" / link).symlink_to(target)
    found, notices = scan(warehouse)
    assert found == ok("a.png", "s/b.png")
    assert notices == {"hidden file": 1, "hidden folder": 1}


def test_a_linked_folder_outside_needs_to_be_named(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path, "pics/a.png", "elsewhere/b.png", "elsewhere/deep/c.png")
    (tmp_path / "pics/more").symlink_to("../elsewhere")
    assert scan(warehouse) == (ok("a.png"), {OUTSIDE: 1})
    found, notices = scan(warehouse, link_roots=["elsewhere"])
    assert (found, notices) == (ok("a.png", "more/b.png", "more/deep/c.png"), {})
    assert scan(warehouse, link_roots=["elsewhere/deep"])[1] == {OUTSIDE: 1}


def test_no_link_loops_or_offers_a_file_twice(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path, "pics/a.png", "pics/sub/b.png", "store/c.png", "store/deep/d.png")
    for link, target in {
        "pics/self": ".", "pics/sub/up": "..", "pics/twin": "sub", "pics/top": "/",
        "pics/m1": "../store/deep", "pics/m2": "../store", "pics/m3": "../store",
        "store/back": "../pics", "store/deep/loop": "..", "pics/ring": "ring",
    }.items():  # fmt: skip
        (tmp_path / link).symlink_to(target)
    found, notices = scan(warehouse, link_roots=["store", "/"])
    assert found == ok("a.png", "m1/d.png", "m2/c.png", "sub/b.png")
    assert notices == {OFFERED: 4, UPWARD: 1, AGAIN: 3, "link that leads nowhere": 1}


def test_files_beside_the_folders_are_left_out(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path, "raw/a/1.png", "raw/b/1.png", "raw/README.txt", "raw/z.png", "raw/.hidden")
    for uri in ("raw/{partition}", "raw/*"):
        assert scan(warehouse, uri=uri) == (ok("a/1.png", "b/1.png"), {BESIDE_FOLDERS: 2})
    assert scan(warehouse, uri="raw/{partition}", scope=Scope("a")) == (ok("a/1.png"), {})
    with pytest.raises(SourceNotFound, match="is not a folder"):
        scan(warehouse, uri="raw/{partition}", scope=Scope("z.png"))
    with pytest.raises(SourceNotFound, match="is not a folder"):
        scan(warehouse, uri="raw/*.*")


def test_a_file_beside_the_folders_needs_no_period(warehouse: Warehouse, tmp_path: Path) -> None:
    fill(tmp_path, "raw/2026-01-31/1.txt", "raw/README.txt")
    report = warehouse.run_without_error(
        collection={"partitions": "day", "schedule": "@daily"},
        source={"kind": "folder", "uri": "raw/{partition}", "id": "path"},
        spaces=[{"name": "t", "encoder": "hashed/64", "fields": ["text"]}],
    )
    assert [notice["about"] for notice in report["notices"]] == [BESIDE_FOLDERS]


def test_links_across_partitions(warehouse: Warehouse, tmp_path: Path) -> None:
    """A file may be an item of two partitions; a folder is one of its own partition alone."""
    fill(tmp_path, "raw/1/a.png", "raw/2/b.png", "nas/3/c.png", "raw/notes/.x")
    (tmp_path / "raw/2/a.png").symlink_to("../1/a.png")
    (tmp_path / "raw/2/first").symlink_to("../1")
    (tmp_path / "raw/2/all").symlink_to("..")
    (tmp_path / "raw/3").symlink_to("../nas/3")
    (tmp_path / "raw/3/c too.png").symlink_to("c.png")
    for scope in (EVERYTHING, Scope("2")):
        found, notices = scan(warehouse, uri="raw/{partition}", scope=scope)
        assert {name for name in found if name[0] == "2"} == {"2/a.png", "2/b.png"}
        assert (notices[OFFERED], notices[UPWARD]) == (1, 1)
    assert scan(warehouse, uri="raw/{partition}", scope=Scope("3")) == (
        ok("3/c.png", "3/c too.png"), {},
    )  # fmt: skip
