"""From a record's values to an id, a content and metadata."""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.columns import COLUMN_TYPES
from commonspace.pipeline.source.content import MAX_ID_BYTES, parse_id, read_content
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.metadata import convert_metadata
from commonspace.pipeline.source.records import Record, sha256_hex

TEXT = SpaceSection(name="t", encoder="hashed/64", fields=("title", "blurb"))
IMAGE = SpaceSection(name="i", encoder="hashed/64", image="cover")
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=5)
    | st.text(st.characters(), max_size=5) | st.dates() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip


def row(folder: Path | str = "", **values: Any) -> Record:
    return Record("0:1:1:xx", "x", values, folder=str(folder))


def reason(found: Any) -> Reason:
    assert isinstance(found, Failure), found
    return found.reason


def text(**values: Any) -> Any:
    return read_content(row(**values), TEXT, FileAccess())


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), (" a ", " a "), ("0012", "0012"), (0, "0"), (-7, "-7"), (2**70, str(2**70)),
     ("é", "é"), ("e\u0301", "e\u0301"), ("\0", "\0"), ("a\nb", "a\nb"), ("'; DROP", "'; DROP"),
     ("x" * MAX_ID_BYTES, "x" * MAX_ID_BYTES)],
)  # fmt: skip
def test_ids_are_taken_as_they_are(value: Any, expected: str) -> None:
    assert parse_id(value) == expected


@pytest.mark.parametrize(
    "value",
    [None, "", 1.0, float("nan"), True, False, b"a", ["a"], {}, date(2024, 1, 1), Decimal(1),
     "\ud800", "x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1)],
)  # fmt: skip
def test_other_ids_are_rejects(value: Any) -> None:
    assert reason(parse_id(value)) is Reason.BAD_ID


def test_naughty_strings_as_ids_and_texts(naughty_strings: list[str]) -> None:
    assert len(naughty_strings) == 515
    for value in naughty_strings:
        assert parse_id(value) == value if value else reason(parse_id(value)) is Reason.BAD_ID
        content = text(title=value)
        assert content == unicodedata.normalize("NFC", value)
        assert sha256_hex(content) == sha256_hex(text(title=content))
        assert convert_metadata(row(a=value), {"a": "string"}) == {"a": value}


def test_a_text_is_its_fields_in_order_in_nfc() -> None:
    assert text(blurb="b", title="a") == "a\nb"
    assert text(title="e\u0301", blurb="\u212b") == "é\nÅ"
    assert text(title="a", blurb=None) == text(title="a") == "a"
    assert text(title="a", blurb="") == "a\n"


def test_a_list_of_strings_is_one_text() -> None:
    assert text(title=["a", None, "b"], blurb="c") == "a\nb\nc"
    assert text(title=[], blurb=[None]) is None
    assert text(title=["a", ""]) == "a\n"


def test_no_field_at_all_is_no_content_and_an_empty_one_is() -> None:
    assert text() is None
    assert text(title=None, blurb=None) is None
    assert text(title="") == ""


@pytest.mark.parametrize("value", [1, 1.5, True, b"a", {"a": "b"}, ["a", 1], [["a"]], date.min])
def test_what_is_no_text_is_a_reject_that_names_the_field(value: Any) -> None:
    found = text(title="fine", blurb=value)
    assert reason(found) is Reason.WRONG_TYPE
    assert "'blurb'" in found.message
    assert not found.retryable


@pytest.mark.parametrize("value", ["\ud800", ["a", "b\udfff"]])
def test_a_lone_surrogate_is_invalid_unicode(value: Any) -> None:
    assert reason(text(title=value)) is Reason.INVALID_UNICODE


@given(values=st.fixed_dictionaries({}, optional={"title": ANY_VALUE, "blurb": ANY_VALUE}))
def test_any_value_is_a_text_a_reject_or_nothing(values: dict[str, Any]) -> None:
    found = text(**values)
    if isinstance(found, str):
        assert unicodedata.is_normalized("NFC", found)
        assert found.encode().decode() == found
    else:
        assert found is None or isinstance(found, Failure)


def test_a_text_file_is_utf8_without_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfcaf" + "e\u0301".encode() + b"\r\n")
    assert text(title=path) == "café\r\n"
    path.write_bytes(b"\xff")
    assert reason(text(title=path)) is Reason.INVALID_UNICODE
    path.write_bytes(b"")
    assert text(title=path) == ""


@pytest.mark.timeout(10)
@pytest.mark.parametrize("space", [TEXT, IMAGE])
def test_a_pipe_is_not_waited_for(space: SpaceSection, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    values = {"title": tmp_path / "a.txt", "cover": "a.txt"}
    assert (
        reason(read_content(row(tmp_path, **values), space, FileAccess())) is Reason.MISSING_CONTENT
    )


@pytest.mark.parametrize("space", [TEXT, IMAGE])
def test_a_file_that_is_gone_may_come_back(space: SpaceSection, tmp_path: Path) -> None:
    path = tmp_path / "gone"
    found = read_content(row(tmp_path, title=path, cover=path), space, FileAccess())
    assert reason(found) is Reason.MISSING_CONTENT
    assert isinstance(found, Failure)
    assert found.retryable


def test_stored_messages_keep_their_wording() -> None:
    """Rejects are compared by their message: another wording publishes an unchanged source."""
    failures = [
        parse_id(None), parse_id(""), text(title=7), text(title="\ud800"),
    ]  # fmt: skip
    assert [failure.message for failure in failures if isinstance(failure, Failure)] == [
        "the id is missing, not a string",
        "the id is empty",
        "field 'title' holds of type int, not text",
        "the text has a lone surrogate",
    ]


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "x", "x"), ("string", "", ""), ("string", 7, "7"), ("string", True, "true"),
        ("string", 1.5, "1.5"), ("string", b"x", "x"), ("string", ["a", 1], '["a", 1]'),
        ("string", {"b": 1, "a": "é"}, '{"a": "é", "b": 1}'),
        ("string", date(2024, 5, 1), "2024-05-01"), ("string", Decimal("1.50"), '"1.50"'),
        ("int64", 7, 7), ("int64", "-7", -7), ("int64", "007", 7), ("int64", 7.0, 7),
        ("int64", True, 1), ("int64", "", None), ("int64", Decimal("7.0"), 7),
        ("int64", 2**63 - 1, 2**63 - 1), ("int64", -(2**63), -(2**63)),
        ("float64", "1.5", 1.5), ("float64", 1, 1.0), ("float64", "1e3", 1000.0),
        ("float64", "", None), ("float64", Decimal("1.5"), 1.5),
        ("bool", True, True), ("bool", False, False), ("bool", "TRUE", True), ("bool", "0", False),
        ("bool", 1, True), ("bool", "", None),
        ("timestamp", "2024-05-01T12:00:00Z", NOON), ("timestamp", "2024-05-01 12:00", NOON),
        ("timestamp", "2024-05-01T14:00:00+02:00", NOON), ("timestamp", "", None),
        ("timestamp", datetime(2024, 5, 1, 12), NOON),
        ("timestamp", date(2024, 5, 1), NOON - timedelta(hours=12)),
        ("timestamp", datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
    ],
)  # fmt: skip
def test_metadata_is_converted(kind: str, value: Any, expected: Any) -> None:
    assert convert_metadata(row(a=value), {"a": kind}) == {"a": expected}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "\ud800"), ("string", b"\xff"), ("string", ["\ud800"]),
        ("string", {"\ud800": 1}),
        ("int64", "1.5"), ("int64", 1.5), ("int64", "x"), ("int64", 2**63), ("int64", float("inf")),
        ("int64", float("nan")), ("int64", [1]), ("int64", "1_000"), ("int64", Decimal("1.5")),
        ("int64", date(2024, 1, 1)),
        ("float64", "x"), ("float64", [1.0]), ("float64", "1_0.5"), ("float64", 10**400),
        ("bool", "maybe"), ("bool", 2), ("bool", "yes"), ("bool", [True]), ("bool", {}),
        ("timestamp", "yesterday"), ("timestamp", 5), ("timestamp", "2024-13-01"),
        ("timestamp", "0001-01-01T00:00:00+14:00"), ("timestamp", [NOON]),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_a_reject_that_names_the_column(kind: str, value: Any) -> None:
    found = convert_metadata(row(a=value), {"a": kind})
    assert reason(found) is Reason.BAD_METADATA
    assert isinstance(found, Failure)
    assert found.message == f"column 'a' cannot be read as {kind}"


def test_absent_metadata_is_null_and_undeclared_is_left_out() -> None:
    types = dict.fromkeys(COLUMN_TYPES, "string") | {kind: kind for kind in COLUMN_TYPES}
    assert convert_metadata(row(other=1), types) == dict.fromkeys(COLUMN_TYPES)


def test_deeply_nested_metadata_is_a_reject_not_a_crash() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    assert reason(convert_metadata(row(a=value), {"a": "string"})) is Reason.BAD_METADATA


@given(kind=st.sampled_from(list(COLUMN_TYPES)), value=ANY_VALUE)
def test_any_metadata_fits_its_arrow_column_or_is_a_reject(kind: str, value: Any) -> None:
    found = convert_metadata(row(a=value), {"a": kind})
    if isinstance(found, dict):
        pa.array([found["a"]], COLUMN_TYPES[kind]).validate(full=True)
    else:
        assert reason(found) is Reason.BAD_METADATA
