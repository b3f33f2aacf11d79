"""From a record's values to an id and a content."""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.source.content import MAX_ID_BYTES, parse_id, read_content
from commonspace.pipeline.source.conversion.metadata import column_converters, convert_metadata
from commonspace.pipeline.source.conversion.numbers import WrittenNumber
from commonspace.pipeline.source.conversion.times import ExactTime
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.records import Record, sha256_hex
from tests.pipeline.source.source_records import ANY_VALUE

TEXT = SpaceSection(name="t", encoder="hashed/64", fields=("title", "blurb"))
IMAGE = SpaceSection(name="i", encoder="hashed/64", image="cover")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


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
     ("x" * MAX_ID_BYTES, "x" * MAX_ID_BYTES), (Decimal(10**37), str(10**37)),
     (Decimal("-7"), "-7"), (UUID(int=10), "00000000-0000-0000-0000-00000000000a")],
)  # fmt: skip
def test_ids_are_taken_as_they_are(value: Any, expected: str) -> None:
    assert parse_id(value) == expected


@pytest.mark.parametrize(
    "value",
    [None, "", 1.0, float("nan"), True, False, b"a", ["a"], {}, date(2024, 1, 1), NOON, time(12),
     timedelta(1), Decimal("1.0"), Decimal("1e3"), Decimal("nan"), ExactTime("12:00"),
     WrittenNumber("1e309"),
     np.float32(1), "\ud800", "x" * (MAX_ID_BYTES + 1), "é" * (MAX_ID_BYTES // 2 + 1)],
)  # fmt: skip
def test_other_ids_are_rejects(value: Any) -> None:
    assert reason(parse_id(value)) is Reason.BAD_ID


@pytest.mark.parametrize(("value", "scale"), [("1.00", 2), ("7.5", 1), ("1e3", -3)])
def test_a_decimal_id_is_refused_for_its_scale(value: str, scale: int) -> None:
    failure = parse_id(Decimal(value))
    assert isinstance(failure, Failure)
    assert f"the id is a decimal of scale {scale}, not 0" in failure.message


def test_naughty_strings_as_ids_and_texts(naughty_strings: list[str]) -> None:
    assert len(naughty_strings) == 515
    for value in naughty_strings:
        assert parse_id(value) == value if value else reason(parse_id(value)) is Reason.BAD_ID
        content = text(title=value) or ""
        assert content == unicodedata.normalize("NFC", value)
        assert sha256_hex(content) == sha256_hex(text(title=content) or "")
        found = convert_metadata({"a": value}, column_converters({"a": "string"}))
        assert found == ({"a": value or None}, ())


def test_a_text_is_its_fields_in_order_in_nfc() -> None:
    assert text(blurb="b", title="a") == "a\nb"
    assert text(title="e\u0301", blurb="\u212b") == "é\nÅ"
    assert text(title="a", blurb=None) == text(title="a") == "a"
    assert text(title="a", blurb="") == text(title="", blurb="a") == "a"


def test_a_list_is_one_text() -> None:
    assert text(title=["a", None, "b"], blurb="c") == "a\nb\nc"
    assert text(title=[], blurb=[None, ""]) is None
    assert text(title=["a", ""]) == "a"
    assert text(title=[1984, 1.5, True, Decimal("1.50")]) == "1984\n1.5\ntrue\n1.50"


@pytest.mark.parametrize("value", [None, "", float("nan"), b"", [], [""]])
def test_nothing_and_an_empty_text_are_no_content(value: Any) -> None:
    assert text() is None
    assert text(title=value) is text(title=value, blurb=value) is None
    assert text(title=value, blurb="b") == text(title="b", blurb=value) == "b"


def test_blanks_are_a_text_which_an_encoder_refuses() -> None:
    assert text(title="  ") == "  "


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1984, "1984"), (1984.0, "1984.0"), (7.5, "7.5"), (1e22, "1e+22"), (True, "true"),
     (b"caf\xc3\xa9", "café"), (Decimal("19.90"), "19.90"), (date(2024, 5, 1), "2024-05-01"),
     (UUID(int=1), str(UUID(int=1))), (np.float32(0.1), "0.1")],
)  # fmt: skip
def test_a_number_or_date_is_its_text(value: Any, expected: str) -> None:
    assert text(title=value) == text(title=[value]) == expected


@pytest.mark.parametrize("value", [{"a": "b"}, [["a"]], [{}], (1, 2), object(), [object()]])
def test_what_is_no_text_is_a_reject_that_names_the_field(value: Any) -> None:
    found = text(title="fine", blurb=value)
    assert reason(found) is Reason.WRONG_TYPE
    assert "'blurb'" in found.message
    assert not found.retryable


@pytest.mark.parametrize("value", ["\ud800", ["a", "b\udfff"], b"\xff", ["a", b"\xff"]])
def test_what_is_no_unicode_is_said(value: Any) -> None:
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
        parse_id(None), parse_id(""), text(title={}), text(title="\ud800"),
    ]  # fmt: skip
    assert [failure.message for failure in failures if isinstance(failure, Failure)] == [
        "the id is missing, not a string",
        "the id is empty",
        "field 'title' holds of type dict, not text",
        "the text has a lone surrogate",
    ]
