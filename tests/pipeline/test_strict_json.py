"""JSON that every reader takes."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.cli.output import print_json
from commonspace.pipeline.strict_json import strict_json
from tests.support.command_line import CommandLine
from tests.support.warehouse import Warehouse, numbered_items

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def refuse(constant: str) -> Any:
    raise AssertionError(constant)


@given(DOCUMENTS)
def test_no_number_is_beyond_json(value: Any) -> None:
    written = strict_json(value)
    json.loads(written, parse_constant=refuse)
    expected = json.loads(json.dumps(value), parse_constant=lambda _: None)
    assert json.loads(written) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_a_document_is_valid_in_any_terminal(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = io.BytesIO()
    terminal = io.TextIOWrapper(sink, encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", terminal)
    document = {
        "text": "é 🐳 \udcff",
        "price": float("nan"),
        "at": datetime(2024, 5, 1, tzinfo=UTC),
    }
    print_json(document)
    terminal.flush()
    found = json.loads(sink.getvalue().decode(encoding), parse_constant=refuse)
    assert found == {"text": "é 🐳 \udcff", "price": None, "at": "2024-05-01 00:00:00+00:00"}


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="a set is no JSON"):
        print_json({"a": {1}})


def test_infinities_of_a_published_column_are_null_in_json(
    warehouse: Warehouse, command: CommandLine
) -> None:
    items = numbered_items(2, price=float("inf"))
    warehouse.run_without_error(
        items, source={"metadata": {"price": "float64"}}, gates={"max_drift": 1.0}
    )
    assert warehouse.open().get(["i0000"])["price"].to_pylist() == [float("inf")]
    found = command("get", "things/text", "i0000", "--json")
    document = json.loads(found.stdout, parse_constant=refuse)
    assert [row["price"] for row in document["rows"]] == [None]
