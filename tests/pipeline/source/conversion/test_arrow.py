"""Arrow's columns as Python's values: exact, and the same without pandas."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.source.conversion.arrow import column_values
from commonspace.pipeline.source.conversion.table import CONVERTERS, convert
from commonspace.pipeline.source.conversion.times import ExactTime
from tests.support.checkout import REPOSITORY

INDIA = timezone(timedelta(hours=5, minutes=30))
SECOND = 10**9
FAR = 10_000_000 * 86_400 * 10**6
"""The year 29349, in microseconds."""


def values(items: list[Any], kind: pa.DataType) -> list[Any]:
    return column_values(pa.array(items, kind))


@pytest.mark.parametrize(
    ("items", "kind", "expected"),
    [
        ([SECOND, None], pa.timestamp("ns"), [datetime(1970, 1, 1, 0, 0, 1), None]),
        ([SECOND + 1, 0], pa.timestamp("ns"),
         [ExactTime("1970-01-01T00:00:01.000000001"), datetime(1970, 1, 1)]),
        ([-1], pa.timestamp("ns"), [ExactTime("1969-12-31T23:59:59.999999999")]),
        ([1], pa.timestamp("ns", "+05:30"), [ExactTime("1970-01-01T05:30:00.000000001+05:30")]),
        ([0], pa.timestamp("ns", "+05:30"), [datetime(1970, 1, 1, 5, 30, tzinfo=INDIA)]),
        ([1, 1000, None], pa.time64("ns"),
         [ExactTime("00:00:00.000000001"), time(0, 0, 0, 1), None]),
        ([1, -1000], pa.duration("ns"), [ExactTime("PT0.000000001S"), timedelta(0, 0, -1)]),
        ([90], pa.duration("s"), [timedelta(seconds=90)]),
        ([0.1, None], pa.float32(), [np.float32(0.1), None]),
        ([0.1], pa.float16(), [np.float16(0.1)]),
        ([0.1, None], pa.float64(), [0.1, None]),
        (["1.50"], pa.string(), ["1.50"]),
        ([Decimal("1.50"), None], pa.decimal128(10, 2), [Decimal("1.50"), None]),
        ([[0.1], None], pa.list_(pa.float32()), [[np.float32(0.1)], None]),
        ([[1]], pa.list_(pa.duration("ns"), 1), [[ExactTime("PT0.000000001S")]]),
        ([{"a": 1, "b": None}], pa.struct({"a": pa.timestamp("ns"), "b": pa.float32()}),
         [{"a": ExactTime("1970-01-01T00:00:00.000000001"), "b": None}]),
        ([[("k", 1)], None], pa.map_(pa.string(), pa.int64()), [{"k": 1}, None]),
        ([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64()), [[["k", 1], ["k", 2]]]),
        ([[(1, 2)]], pa.map_(pa.int64(), pa.int64()), [[[1, 2]]]),
    ],
)  # fmt: skip
def test_values_are_exact(items: list[Any], kind: pa.DataType, expected: list[Any]) -> None:
    found = [None if value != value else value for value in values(items, kind)]
    assert found == expected
    assert list(map(type, found)) == list(map(type, expected))


def test_extension_and_dictionary_columns() -> None:
    ids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), None], pa.binary(16)))
    assert column_values(ids) == [UUID(int=0), None]
    words = pa.array(["a", None, "a"]).dictionary_encode()
    assert column_values(words) == ["a", None, "a"]
    times = pa.array([1, None], pa.timestamp("ns")).dictionary_encode()
    assert column_values(times) == [ExactTime("1970-01-01T00:00:00.000000001"), None]


@pytest.mark.parametrize(
    ("column", "good"),
    [
        (pa.array([0, FAR], pa.timestamp("us")), datetime(1970, 1, 1)),
        (pa.array([0, FAR], pa.timestamp("us", "Europe/Berlin")), None),
        (pa.array([0, 10_000_000], pa.int32()).cast(pa.date32()), date(1970, 1, 1)),
        (pa.array([0, 2**62], pa.duration("s")), timedelta(0)),
        (pa.array([1, 1001], pa.timestamp("ns", "Mars/Olympus")), None),
        (pa.array([1000, 2000], pa.timestamp("ns", "Mars/Olympus")), None),
        (pa.array([1000, 2000], pa.timestamp("us", "Mars/Olympus")), None),
    ],
)
def test_what_python_cannot_hold_is_refused_and_its_neighbour_is_not(
    column: pa.Array, good: Any
) -> None:
    first, second = column_values(column)
    assert good in (None, first)
    for kind in CONVERTERS:
        with pytest.raises(TypeError, match="Scalar"):
            convert(second, kind)


@given(
    st.lists(st.none() | st.integers(-(2**62), 2**62)), st.sampled_from(["UTC", "Asia/Tokyo", None])
)
def test_nanoseconds_are_neither_lost_nor_moved(ticks: list[int | None], zone: str | None) -> None:
    found = [convert(v, "string") for v in values(ticks, pa.timestamp("ns", zone))]
    for text, tick in zip(found, ticks, strict=True):
        if text is None or tick is None:
            assert text is tick is None
            continue
        whole, _, digits = text.partition("+")[0].partition(".")
        offset = text[len(text.partition("+")[0]) :]
        moment = datetime.fromisoformat(whole + (offset or "+00:00"))
        assert round(moment.timestamp()) * SECOND + int(digits.ljust(9, "0") or 0) == tick


def test_pandas_is_not_needed() -> None:
    """It is not among the dependencies; Arrow asks for it where nanoseconds are odd."""
    script = (
        "import sys\n"
        "class NoPandas:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'pandas': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NoPandas())\n"
        "import pyarrow as pa\n"
        "from commonspace.pipeline.source.conversion.arrow import column_values\n"
        "for kind in (pa.timestamp('ns'), pa.time64('ns'), pa.duration('ns')):\n"
        "    print(*column_values(pa.array([1, 2000], kind)), sep=', ')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        cwd=REPOSITORY,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        "1970-01-01T00:00:00.000000001, 1970-01-01 00:00:00.000002",
        "00:00:00.000000001, 00:00:00.000002",
        "PT0.000000001S, 0:00:00.000002",
    ], done.stderr
