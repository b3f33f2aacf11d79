"""A golden file with a mistake is its owner's mistake, told in a sentence before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.plan.golden_file import read_golden
from tests.support.warehouse import Warehouse

MAX_BYTES = 1_000
SPACE = {"name": "text", "encoder": "hashed/64", "fields": ["text"], "golden": "golden.jsonl"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: the line is not valid JSON"),
        ("[" * 100_000, "line 2: the line is not valid JSON"),
        ("7", "line 2: "),
        ('{"query": "a"}', "line 2: ids: Field required"),
        ('{"query": "a", "ids": []}', "line 2: ids: "),
        ('{"query": "a", "ids": "b"}', "line 2: ids: "),
        ('{"query": "a", "ids": [1]}', "line 2: ids.0: "),
        ('{"query": "", "ids": ["b"]}', "line 2: query: "),
        ('{"query": "a", "ids": ["b", "b"]}', "has the same id twice"),
        ('{"query": "a", "ids": ["b", "c"], "k": 1}', "cannot be among the first 1: raise `k`"),
        ('{"query": "a", "ids": ["b"], "k": 0}', "line 2: k: "),
        ('{"query": "a", "ids": ["b"], "top": 3}', "unknown key 'top'"),
        ('{"qery": "a", "ids": ["b"]}', "unknown key 'qery' (did you mean 'query'?)"),
        ('{"ids": ["b"]}', "exactly one of `query` (text) and `image`"),
        ('{"query": "a", "image": "b.png", "ids": ["b"]}', "exactly one of"),
        ('{"image": "b.png", "ids": ["b"]}', "cannot be searched by image"),
        ('{"query": "\\ud800", "ids": ["b"]}', "line 2: "),
        ('{"query": "a", "ids": ["\\ud800"]}', "line 2: "),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text('{"query": "a", "ids": ["b"]}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(UserMistake) as found:
        read_golden(file, {"text"}, MAX_BYTES)
    assert said in str(found.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"", b"\n  \n"])
def test_a_file_without_lines(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_bytes(data)
    with pytest.raises(UserMistake, match=r"valid UTF-8|has no golden query"):
        read_golden(file, {"text"}, MAX_BYTES)
    with pytest.raises(UserMistake, match="cannot be read: No such file"):
        read_golden(tmp_path / "none.jsonl", {"text"}, MAX_BYTES)


@pytest.mark.parametrize("image", ["gone.png", ".", "a\u0000b", "x" * 5000])
def test_an_image_that_is_not_there(tmp_path: Path, image: str) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text(json.dumps({"image": image, "ids": ["b"]}), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"line 1: .*image"):
        read_golden(file, {"image"}, MAX_BYTES)


def test_an_image_has_the_bytes_that_the_collection_allows(
    tmp_path: Path, warehouse: Warehouse
) -> None:
    (tmp_path / "a.png").write_bytes(b"x" * 1_000)
    file = tmp_path / "golden.jsonl"
    file.write_text('{"image": "a.png", "ids": ["b"]}', encoding="utf-8")
    (query,) = read_golden(file, {"image"}, 1_000)
    assert query.content == b"x" * 1_000
    said = "'a.png' has too many bytes; `max_file_bytes` in [limits] is 999"
    with pytest.raises(UserMistake) as found:
        read_golden(file, {"image"}, 999)
    assert said in str(found.value)
    space = {**SPACE, "image": "image"}
    del space["fields"]
    files = {"golden.jsonl": file.read_bytes(), "a.png": b"x" * 1_000, "in/b.png": b"small"}
    source = {"kind": "folder", "uri": "in", "id": "path"}
    with pytest.raises(UserMistake) as refused:
        warehouse.run(source=source, spaces=[space], files=files, limits={"max_file_bytes": 999})
    assert said in str(refused.value)


def test_a_file_of_another_editor(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, separators of Unicode inside a text."""
    file = tmp_path / "golden.jsonl"
    lines = [
        '{"query": "a\u2028b \u0085", "ids": ["it\'s \\"x\\""]}',
        '{"query": "c", "ids": ["d"]}',
    ]
    file.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    first, second = read_golden(file, {"text"}, MAX_BYTES)
    assert (first.content, first.ids, first.k) == ("a\u2028b \u0085", ['it\'s "x"'], 10)
    assert second.content == "c"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param({"query": "a", "ids": ["i1", "nobody's"]}, "nobody's", id="unknown-id"),
        pytest.param({"query": " ", "ids": ["i1"]}, "the query is blank", id="blank-query"),
        pytest.param({"query": "\u200b", "ids": ["i1"]}, "cannot be encoded", id="invisible-query"),
    ],
)
def test_a_run_tells_it_and_publishes_nothing(warehouse: Warehouse, line: Any, said: str) -> None:
    data = [{"id": f"i{n}", "text": f"text {n}"} for n in range(5)]
    files = {"golden.jsonl": json.dumps(line).encode()}
    try:
        report = warehouse.run(data, spaces=[SPACE], files=files)
        reported = f"{report['error']} {report['what']}"
    except UserMistake as error:
        reported = f"UserMistake {error.what}"
    assert reported.startswith("UserMistake")
    assert said in reported
    assert not (warehouse.root / "things").exists()
