"""What columns seem to hold, and what they are for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.init.columns import Column, columns_of
from commonspace.pipeline.init.image_column import find_image_column
from commonspace.pipeline.init.roles import Roles, choose_roles, choose_rule
from commonspace.pipeline.source.conversion.table import convert
from commonspace.pipeline.source.records import Record

PROSE = ["a whale hunts a man", "a man hunts a whale", "the sea is wide and deep"]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def kind(values: Sequence[Any], *, is_of_text: bool = True) -> str | None:
    return Column("a", values, len(values), is_of_text).type


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", " 20", "-3"], "int64"),
        (["007", "1"], "string"),
        (["9223372036854775808"], "string"),
        (["+49"], "string"),
        (["1.5", "2", "1e3"], "float64"),
        (["0.1234567890123456789"], "string"),
        (["."], "string"),
        (["nan", "1.5"], "string"),
        (["true", "False"], "bool"),
        (["2026-01-31", "2026-01-31T09:30:00Z"], "timestamp"),
        (["2026-02-30"], "string"),
        (["20260131"], "int64"),
        (["1", "x"], "string"),
        ([], "string"),
        ([1, 2], "int64"),
        ([2**63], "string"),
        ([1, 2.5], "float64"),
        ([True], "bool"),
        ([True, 1], "string"),
        ([Decimal("1.10")], "string"),
        ([Decimal(3)], "int64"),
        ([date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC)], "timestamp"),
        ([["a"], {"b": 1}], "string"),
        ([b"\xff"], None),
        (["\ud800"], None),
    ],
)
def test_a_type_loses_nothing_of_any_value(values: list[Any], expected: str | None) -> None:
    assert kind(values) == expected


def test_texts_of_a_format_with_numbers_are_texts() -> None:
    assert kind(["1", "2"], is_of_text=False) == "string"


values = st.text(max_size=5) | st.from_regex(r"-?[0-9.eE+]{1,8}", fullmatch=True)
values |= st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.dates() | st.decimals()


@given(st.lists(values, max_size=3), st.booleans())
def test_what_a_type_is_guessed_for_can_be_read_as_it(found: list[Any], is_of_text: bool) -> None:
    declared = kind(found, is_of_text=is_of_text)
    for value in found if declared else []:
        convert(value, str(declared))


def roles(rows: list[dict[str, Any]], *, images: Sequence[str] = ()) -> Roles:
    records = [Record("", "a", row) for row in rows]
    columns = columns_of(records, list(rows[0]), is_of_text=True)
    image, _ = find_image_column(columns, "/nowhere", images)
    return choose_roles(columns, image)


def table(**columns: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_names_and_values_decide_what_is_encoded() -> None:
    found = roles(table(book_id=["1", "2", "3"], title=["A", "B", "C"], year=["1", "2", "1"],
                        blurb=PROSE, url=["https://x/1", "https://x/2", "https://x/3"],
                        genre=["play", "play", "novel"]))  # fmt: skip
    assert (found.id, found.fields, found.image) == ("book_id", ("title", "blurb"), None)
    assert found.metadata == {
        "title": "string", "year": "int64", "blurb": "string", "url": "string", "genre": "string",
    }  # fmt: skip
    assert any("joined into one text" in doubt for doubt in found.doubts)


@pytest.mark.parametrize("ids", [["1", "1", "2"], ["1", "", "2"], [1.5, 2.5, 3.5]])
def test_what_is_called_an_id_and_is_none_is_doubted(ids: list[Any]) -> None:
    found = roles(table(id=ids, text=PROSE))
    assert found.id is None
    assert "'id' is called like an id, but" in found.doubts[0]


def test_what_is_unique_and_not_called_an_id_is_none() -> None:
    assert roles(table(price=[1, 2, 3], text=PROSE)).id is None


def test_names_that_a_release_cannot_have_are_left_out() -> None:
    rows = table(text=PROSE, run=["a"] * 3, TEXT=["b"] * 3, **{"a.b": ["c"] * 3})
    assert roles(rows).metadata == {"text": "string"}
    rows = [{"text\0": text, "\ud800": text, "of it": text} for text in PROSE]
    assert (roles(rows).fields, list(roles(rows).metadata)) == (("of it",), ["of it"])


def test_a_table_without_texts_is_refused_and_a_weak_one_is_doubted() -> None:
    with pytest.raises(UserMistake, match="no column holds texts or images"):
        roles(table(a=["1", "2"], b=["2026-01-31", "2026-02-01"]) and table(a=[1, 2], b=[2.5, 3.5]))
    found = roles(table(code=["x", "y"]))
    assert found.fields == ("code",)
    assert roles(table(color=["red", "blue"], n=[1, 2])).fields == ("color",)


@pytest.mark.parametrize(
    "value", [PNG, {"bytes": PNG, "path": "a.png"}, "data:image/png;base64,iVBO"]
)
def test_images_are_known_by_their_bytes(value: Any) -> None:
    found = roles(table(image=[value] * 3, text=PROSE))
    assert (found.image, found.fields) == ("image", ("text",))
    assert "image" not in found.metadata


def test_contents_that_are_there_twice_have_ids_by_row() -> None:
    assert choose_rule(["a", "b", None, None]) == "content"
    assert choose_rule(["a", "b", "a"]) == "row"
