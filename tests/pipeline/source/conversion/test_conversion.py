"""What a value found in a source becomes for each declared type, or that it is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonspace.pipeline.config.sections import ColumnType, SourceSection
from commonspace.pipeline.contract.columns import COLUMN_TYPES
from commonspace.pipeline.source.conversion.numbers import INEXACT_FLOATS, WrittenNumber
from commonspace.pipeline.source.conversion.table import CONVERTERS, UNREADABLE, convert
from commonspace.pipeline.source.conversion.times import ExactTime, iso_duration
from tests.pipeline.source.source_records import ANY_VALUE

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))
NAN = float("nan")
SOME_ID = UUID("0123456789abcdef0123456789abcdef")
SECONDS = 1_714_564_800
"""NOON, since 1970."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"), ("", None), (" ", " "), (" x ", " x "), ("NaN", "NaN"), (None, None),
        (7, "7"), (2**64 - 1, "18446744073709551615"), (True, "true"), (False, "false"),
        (1.5, "1.5"), (1984.0, "1984.0"), (1e22, "1e+22"), (0.1, "0.1"), (NAN, None),
        (float("inf"), "Infinity"), (float("-inf"), "-Infinity"),
        (np.float32(0.1), "0.1"), (np.float32(19.99), "19.99"), (np.float16(0.1), "0.1"),
        (np.float32("nan"), None), (np.float32("inf"), "Infinity"),
        (Decimal("19.99"), "19.99"), (Decimal("1.50"), "1.50"), (Decimal("1e3"), "1000"),
        (Decimal("nan"), None), (b"x", "x"), (b"", None), (SOME_ID, str(SOME_ID)),
        (date(2024, 5, 1), "2024-05-01"), (NOON, "2024-05-01T12:00:00+00:00"),
        (datetime(2024, 5, 1, 12, 0, 0, 1), "2024-05-01T12:00:00.000001"),
        (NOON.astimezone(EAST), "2024-05-01T14:00:00+02:00"),
        (ExactTime("12:00:00.000000001"), "12:00:00.000000001"), (WrittenNumber("1e309"), "1e309"),
        ([WrittenNumber("1e309")], '["1e309"]'),
        (time(12, 30), "12:30:00"), (time(12, 30, 0, 5), "12:30:00.000005"),
        (timedelta(seconds=90), "PT1M30S"), (timedelta(0), "PT0S"),
        (timedelta(days=1, hours=2, microseconds=-1), "PT25H59M59.999999S"),
        (["a", 1, None], '["a", 1, null]'), ({"b": 1, "a": "é"}, '{"a": "é", "b": 1}'),
        ({"when": datetime(2026, 1, 1), "price": Decimal("1.50"), "id": SOME_ID},
         f'{{"id": "{SOME_ID}", "price": "1.50", "when": "2026-01-01T00:00:00"}}'),
        ([NAN, [float("inf"), np.float32(0.1)]], "[null, [null, 0.1]]"),
    ],
)  # fmt: skip
def test_as_string(value: Any, expected: str | None) -> None:
    assert convert(value, "string") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7), ("-7", -7), ("007", 7), (" 7 ", 7), ("+7", 7), ("", None), ("  ", None),
        (None, None), (1999.0, 1999), ("1999.0", 1999), ("1e3", 1000), (NAN, None), ("NaN", None),
        (Decimal("7.0"), 7), (Decimal("nan"), None), (np.float32(7), 7), (True, 1), ("false", 0),
        (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (str(2**63 - 1), 2**63 - 1),
        (Decimal(2**63 - 1), 2**63 - 1), (2.0**53 - 1, 2**53 - 1),
        ("9007199254740993.0", 2**53 + 1), ("-9007199254740993e0", -(2**53) - 1),
        ("9223372036854775807.00", 2**63 - 1), ("9.007199254740993E15", 2**53 + 1),
        ("9007199254740992.0", 2**53), ("0e30", 0), ("0e999999999", 0), ("-nan", None),
    ],
)  # fmt: skip
def test_as_int64(value: Any, expected: int | None) -> None:
    assert convert(value, "int64") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.5", 1.5), (1, 1.0), ("1", 1.0), ("1e3", 1000.0), (" 2 ", 2.0), ("", None), (None, None),
        (NAN, None), ("nan", None), (float("inf"), float("inf")), ("Infinity", float("inf")),
        ("-inf", float("-inf")), (Decimal("1.5"), 1.5), (Decimal("nan"), None), (True, 1.0),
        (np.float32(0.1), 0.10000000149011612), (np.float32("nan"), None),
    ],
)  # fmt: skip
def test_as_float64(value: Any, expected: float | None) -> None:
    assert convert(value, "float64") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("TRUE", True), ("false ", False), ("0", False), ("1.0", True),
     (1, True), (0.0, False), (1.0, True), (Decimal("0.00"), False), (NAN, None), ("nan", None),
     ("", None), (None, None), (Decimal("nan"), None), (np.float32(1), True)],
)  # fmt: skip
def test_as_bool(value: Any, expected: bool | None) -> None:
    assert convert(value, "bool") is expected


@pytest.mark.parametrize("kind", [kind for kind in CONVERTERS if kind.startswith("timestamp")])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01T12:00:00Z", NOON), ("2024-05-01 12:00", NOON), (" 2024-05-01 12:00 ", NOON),
        ("20240501T120000Z", NOON), ("2024-W18-3T12", NOON), ("2024-05-01t12:00", NOON),
        ("2024-05-01T14:00:00+02:00", NOON), ("", None), (" ", None), ("NaN", None), (None, None),
        ("2024-05-01T12:00:00.000000999", NOON), (NAN, None), (datetime(2024, 5, 1, 12), NOON),
        (ExactTime("2024-05-01T14:00:00.000000999+02:00"), NOON), (NOON.astimezone(EAST), NOON),
        (np.float32("nan"), None), (np.float16("nan"), None),
        (date(2024, 5, 1), NOON - timedelta(hours=12)), ("2024-05-01", NOON - timedelta(hours=12)),
    ],
)  # fmt: skip
def test_as_timestamp(kind: str, value: Any, expected: datetime | None) -> None:
    assert convert(value, kind) == expected


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("timestamp[s]", SECONDS, NOON), ("timestamp[ms]", SECONDS * 10**3, NOON),
        ("timestamp[us]", SECONDS * 10**6, NOON), ("timestamp[ns]", SECONDS * 10**9 + 999, NOON),
        ("timestamp[s]", f" {SECONDS} ", NOON), ("timestamp[s]", f"{SECONDS}.0", NOON),
        ("timestamp[s]", float(SECONDS), NOON), ("timestamp[s]", Decimal(SECONDS), NOON),
        ("timestamp[s]", SECONDS + 0.1, NOON + timedelta(seconds=0.1)),
        ("timestamp[s]", str(SECONDS + 0.1), NOON + timedelta(seconds=0.1)),
        ("timestamp[ms]", Decimal("-0.5"), datetime(1969, 12, 31, 23, 59, 59, 999500, UTC)),
        ("timestamp[ns]", -1, datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)),
        ("timestamp[ms]", 20240501, datetime(1970, 1, 1, 5, 37, 20, 501000, UTC)),
        ("timestamp[ms]", "20240501", datetime(1970, 1, 1, 5, 37, 20, 501000, UTC)),
        ("timestamp[s]", np.float32(2**30 + 128), datetime(2004, 1, 10, 13, 39, 12, tzinfo=UTC)),
        ("timestamp[s]", np.float16(0.5), datetime(1970, 1, 1, 0, 0, 0, 500000, UTC)),
        ("timestamp[s]", Decimal("nan"), None), ("timestamp", "20240501", NOON - timedelta(0.5)),
    ],
)  # fmt: skip
def test_a_number_is_a_time_by_its_declared_unit(
    kind: str, value: Any, expected: datetime | None
) -> None:
    assert convert(value, kind) == expected


NO_NUMBER = [
    WrittenNumber("1e309"),
    "x",
    "NA",
    "1,999",
    "1_000",
    "0x10",
    b"1",
    date.min,
    time(),
    timedelta(),
    [1],
    {},
]
NO_EPOCH = [
    WrittenNumber("1e309"),
    "yesterday",
    "true",
    float("inf"),
    10**30,
    "1e999",
    Decimal("1e30"),
    [NOON],
    True,
]
REFUSED: dict[str, list[Any]] = {
    "string": ["\ud800", b"\xff", ["\ud800"], {"\ud800": 1}, [b"\xff"], (1, 2), object()],
    "int64": [*NO_NUMBER, "1.5", 1.5, 2**63, str(2**63), float("inf"), "inf", Decimal("1.5"),
              float(INEXACT_FLOATS), -float(INEXACT_FLOATS), INEXACT_FLOATS + 2.0, "1e30",
              "9223372036854775808.0", "9007199254740993.5", "1.00000000000000000001", "1e-400",
              "1e309", "1e999999999", "-infinity", "nan1", Decimal("1e999999999"), Decimal("inf"),
              SOME_ID, np.float32(1.5), NOON],
    "float64": [*NO_NUMBER, 10**400, str(10**400), "1e309", "-1E309", f"{10**400}.5", "9" * 5000,
                Decimal("snan"), SOME_ID, NOON],
    "bool": [*NO_NUMBER, 2, -1, 0.5, "2", "yes", "t", Decimal("0.1"), Decimal("snan"), NOON],
    "timestamp": [*NO_EPOCH, 5, "5", SECONDS, str(SECONDS), "1706012012345", 1.5, Decimal(5),
                  np.float32(5), np.float16("inf"),
                  "2024-13-01", "2024-05-01712:00", "20240501-0300", "0001-01-01T00:00:00+14:00",
                  "2024", "12:00", time(12), timedelta(1), b"2024-05-01", SOME_ID],
    **{kind: [*NO_EPOCH, "2024-13-01", time(12), timedelta(1), np.float32("inf")]
       for kind in ("timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]")},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), [(k, value) for k in REFUSED for value in REFUSED[k]])
def test_what_no_converter_reads_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(UNREADABLE):
        convert(value, kind)


def test_what_is_not_listed_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="no int64 is made of timedelta"):
        convert(timedelta(1), "int64")


def test_every_declared_type_has_converters_and_a_column() -> None:
    assert set(CONVERTERS) == set(get_args(ColumnType))
    source = SourceSection(kind="csv", uri="x", id="id", metadata={k: k for k in CONVERTERS})
    assert set(source.published_types.values()) == set(COLUMN_TYPES)
    assert source.published_types["timestamp[ms]"] == "timestamp"


def test_deeply_nested_values_are_refused() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(UNREADABLE):
        convert(value, "string")


@settings(max_examples=400)
@given(kind=st.sampled_from(list(CONVERTERS)), value=ANY_VALUE)
def test_any_value_fits_its_arrow_column_or_is_refused(kind: str, value: Any) -> None:
    try:
        found = convert(value, kind)
    except UNREADABLE:
        return
    pa.array([found], COLUMN_TYPES[kind.partition("[")[0]]).validate(full=True)
    assert found != ""
    assert found == found


@given(st.timedeltas())
def test_a_duration_reads_as_it_was_written(value: timedelta) -> None:
    text = convert(value, "string")
    hours, minutes, seconds = 0, 0, Decimal(0)
    rest = text.lstrip("-").removeprefix("PT")
    if "H" in rest:
        hours, rest = int(rest.split("H")[0]), rest.split("H")[1]
    if "M" in rest:
        minutes, rest = int(rest.split("M")[0]), rest.split("M")[1]
    if rest:
        seconds = Decimal(rest.removesuffix("S"))
    total = hours * 3600 + minutes * 60 + seconds
    sign = -1 if text.startswith("-") else 1
    assert sign * total * 10**6 == value // timedelta(microseconds=1)
    assert minutes < 60 > seconds


def test_nanoseconds_of_a_duration_stay() -> None:
    assert iso_duration(1) == "PT0.000000001S"
    assert iso_duration(-3_600_000_000_001) == "-PT1H0.000000001S"
