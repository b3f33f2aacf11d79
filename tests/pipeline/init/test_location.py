"""What lies at a path."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from commonspace.pipeline.errors import SourceNotFound, UserMistake
from commonspace.pipeline.init.location import locate
from commonspace.pipeline.init.sample import read_sample


def make(folder: Path, *names: str, content: bytes = b"id,text\n1,a\n") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("names", "kind", "uri"),
    [
        (["a.csv"], "csv", "a.csv"),
        (["a.csv", "b.csv"], "csv", "*.csv"),
        (["x/a.csv", "b.csv"], "csv", "**/*.csv"),
        (["2026-01-30/a.csv", "2026-01-31/a.csv"], "csv", "{partition}/*.csv"),
        (["day=2026-01-30/a.csv", "day=2026-01-31/a.csv"], "csv", "day={partition}/*.csv"),
        (["day=2026-01-30/a.csv", "b=2026-01-31/a.csv"], "csv", "**/*.csv"),
        (["a[1].csv", ".hidden/b.csv", "README.md"], "csv", "a[[]1].csv"),
        (["a.txt", "b.jpg"], "folder", ""),
        (["pics/a.jpg", "pics/b.jpg", "c.csv"], "csv", "c.csv"),
        ([*(f"{n}.jpg" for n in range(20)), "index.csv"], "folder", ""),
    ],
)
def test_a_folder_is_one_source(names: list[str], kind: str, uri: str, tmp_path: Path) -> None:
    found = locate(str(make(tmp_path / "f", *names)))
    assert (found.kind, found.uri) == (kind, str(tmp_path / "f" / uri))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", b'{"id": 1}\n', "jsonl"),
        ("a", b"PAR1\0\0", "parquet"),
        ("a.data", b"id;text\n", "csv"),
        ("a.csv.gz", gzip.compress(b"id,text\n", mtime=0), "csv"),
        ("a.gz", gzip.compress(b'{"id": 1}\n', mtime=0), "jsonl"),
    ],
)
def test_a_file_is_what_it_holds(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    assert locate(str(make(tmp_path, name, content=content) / name)).kind == kind


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jpg", b"\xff\xd8\xff", "is one image or text"),
        ("a.txt", b"text", "is one image or text"),
        ("a.xml", b"<root/>", "is XML or HTML"),
        ("a.xlsx", b"PK\x03\x04", "a zip archive"),
        ("a.parquet", b"nothing", "is no Parquet file"),
        ("a.csv", b"", "has no record that can be read"),
        ("a.csv", b"id,text\n", "has no record that can be read"),
        ("a.json", b'[{"id": 1}]', "is one JSON array"),
    ],
)
def test_what_is_no_table_is_refused_by_its_name(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceNotFound, match=said):
        read_sample(locate(str(make(tmp_path, name, content=content) / name)))


def test_what_is_not_there_or_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file or folder"):
        locate(str(tmp_path / "nothing"))
    with pytest.raises(SourceNotFound, match=r"2 of suffix \.xyz"):
        locate(str(make(tmp_path / "f", "a.xyz", "b.xyz")))
    with pytest.raises(UserMistake, match="cannot be written as a uri"):
        locate(str(make(tmp_path, "{partition}.csv") / "{partition}.csv"))


def test_tables_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, "a.csv")
    (folder / "b.csv").write_text("user,city,street\nx,y,z\n")
    with pytest.raises(UserMistake, match="different tables"):
        read_sample(locate(str(folder)))
    (folder / "b.csv").write_text("id;text\n1;a\n2;b\n")
    with pytest.raises(UserMistake, match=r"differs from .* in its delimiter"):
        read_sample(locate(str(folder)))


def test_a_sample_says_how_much_of_a_table_it_is(tmp_path: Path) -> None:
    rows = "".join(f"{n},text {n}\n" for n in range(1500))
    folder = make(tmp_path, "a.csv", "b.csv", content=f"id,text\n{rows}".encode())
    assert read_sample(locate(str(folder))).seen == "the first 1,000 records only"
    few = make(tmp_path / "few", "a.csv")
    assert read_sample(locate(str(few / "*.csv"))).seen == "all 1 records"
