"""Ids that are made of a content: equal where the content is, and never otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.source.record_ids import content_id

texts = st.none() | st.text(max_size=4)
values = (
    texts | st.integers(-3, 3) | st.booleans() | st.binary(max_size=3) | st.lists(texts, max_size=2)
)
rows = st.dictionaries(st.sampled_from("ab"), values)


def known(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row is there: nulls, empty texts and lists of them say nothing."""
    made = {}
    for name, value in row.items():
        parts = [part for part in value if part] if isinstance(value, list) else value
        if parts is not None and parts not in ("", []):
            made[name] = parts
    return made


@given(rows, rows)
def test_contents_that_differ_have_ids_that_differ(a: dict[str, Any], b: dict[str, Any]) -> None:
    ids = [content_id(row, ["a", "b"]) for row in (a, b)]
    for row, item in zip((a, b), ids, strict=True):
        assert (item is None) == (not known(row))
    if repr(sorted(known(a).items())) == repr(sorted(known(b).items())):
        assert ids[0] == ids[1]
    elif ids[0] == ids[1]:  # as texts they are the same
        assert {str(known(a).get(n)).lower() for n in "ab"} == {
            str(known(b).get(n)).lower() for n in "ab"
        }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (5, "5"),
        (True, "true"),
        ("e\u0301", "é"),
        ({"bytes": b"\xff", "path": "a.jpg"}, b"\xff"),
        ({"bytes": None, "path": "a.jpg"}, "a.jpg"),
        (["a", None, "b"], ["a", "b"]),
    ],
)
def test_one_content_that_is_written_in_two_ways_has_one_id(one: Any, other: Any) -> None:
    assert content_id({"a": one}, ["a"]) == content_id({"a": other}, ["a"])


def test_a_column_that_a_record_lacks_changes_no_id() -> None:
    assert content_id({"a": "x"}, ["a", "b"]) == content_id({"a": "x"}, ["a"])
    assert content_id({"b": "x"}, ["a", "b"]) != content_id({"a": "x"}, ["a", "b"])
    assert content_id({"a": "\ud800"}, ["a"]) is not None
    assert isinstance(content_id({"a": object()}, ["a"]), Failure)
