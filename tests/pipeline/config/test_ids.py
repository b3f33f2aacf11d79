"""The file of ids: what is written is read, and what may mean several ids is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commonspace.pipeline.config.ids import read_ids, write_ids
from commonspace.pipeline.errors import UserMistake

Ids = Callable[[bytes], frozenset[str]]


@pytest.fixture
def ids(tmp_path: Path) -> Ids:
    def read(data: bytes) -> frozenset[str]:
        (tmp_path / "ids.txt").write_bytes(data)
        return read_ids(tmp_path / "ids.txt")

    return read


@given(st.sets(st.text(min_size=1), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_carries_every_id(tmp_path: Path, wanted: set[str]) -> None:
    write_ids(tmp_path / "ids.json", wanted)
    assert read_ids(tmp_path / "ids.json") == wanted


LINES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1)


@given(st.lists(LINES.filter(str.strip)), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_carry_every_id_of_one_line(
    ids: Ids, wanted: list[str], end: str, ends: bool
) -> None:
    wanted = [line for line in wanted if not line.startswith("\ufeff")]
    text = end.join(wanted) + (end if ends or end == "\r\n" else "")
    assert ids(text.encode()) == set(wanted)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb\n", {"a", "b"}),
        (b"\xef\xbb\xbfa\nb", {"a", "b"}),
        (b"a\r\nb\r\n", {"a", "b"}),
        (b"a\r\nb", {"a", "b"}),
        (b"a\n\n\nb\n\n", {"a", "b"}),
        (b" a \n\tb\n", {" a ", "\tb"}),
        ("a\u2028b\x0bc\x85d\n".encode(), {"a\u2028b\x0bc\x85d"}),
        (b"", set()),
    ],
)
def test_a_line_is_an_id_as_it_stands(ids: Ids, data: bytes, expected: set[str]) -> None:
    assert ids(data) == expected


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"a\nb\r\nc\n", "line 2 has a carriage return"),
        (b"a\r", "line 1 has a carriage return"),
        (b"a\r\nb\r", "line 2 has a carriage return"),
        (b"a\rb\nc\n", "line 1 has a carriage return"),
        (b"a\r\nb\rc\r\n", "line 2 has a carriage return"),
        (b"a\n  \nc\n", "line 2 has nothing but blanks"),
    ],
)
def test_what_may_mean_several_ids_is_refused(ids: Ids, data: bytes, says: str) -> None:
    with pytest.raises(UserMistake, match=says) as error:
        ids(data)
    assert ".json" in error.value.do


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b'["a", ""]', b'["a"', b"[" * 100_000, b"\xff"]
)
def test_json_of_another_shape_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ids.json").write_bytes(data)
    with pytest.raises(UserMistake, match="the file of ids cannot be read"):
        read_ids(tmp_path / "ids.json")


@pytest.mark.parametrize(
    ("data", "says", "do"),
    [
        (None, "No such file", "Name a file that"),
        (b"[1,2]", "entry 1 of the list is 1, not an id", "in quotes"),
        (b'["  ",""]', 'entry 2 of the list is "", not an id', "not empty"),
        (b'["a", null]', "entry 2 of the list is null, not an id", "in quotes"),
        (b'{"a": 1}', "not a JSON list", "as a JSON list"),
        (b'"a"', "not a JSON list", "as a JSON list"),
        ('["a"]'.encode("utf-16"), "it is not UTF-8", "as UTF-8, not as UTF-16"),
        (b'["a\xff"]', "it is not UTF-8", "Save it as UTF-8."),
    ],
)
@pytest.mark.parametrize("suffix", ["json", "JSON"])
def test_the_advice_is_of_what_is_wrong(
    tmp_path: Path, suffix: str, data: bytes | None, says: str, do: str
) -> None:
    path = tmp_path / f"ids.{suffix}"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserMistake, match=says) as error:
        read_ids(path)
    assert do in error.value.do


def test_lines_of_another_encoding_are_refused_with_advice(ids: Ids) -> None:
    for data, do in ((b"a\xff\n", "Save it as UTF-8."), ("a\n".encode("utf-16"), "not as UTF-16")):
        with pytest.raises(UserMistake, match="it is not UTF-8") as error:
            ids(data)
        assert do in error.value.do


def test_a_folder_is_no_file_of_ids(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match="cannot be read: Is a directory"):
        read_ids(tmp_path)
