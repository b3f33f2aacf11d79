"""Filters: what they keep, and that a release keeps the same rows wherever it is read from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.read.space import Space
from commonspace.pipeline.read.sql_times import with_timestamps
from tests.support.warehouse import Warehouse

TYPES = {"at": "timestamp", "year": "int64", "score": "float64", "ok": "bool", "genre": "string"}
TIMES = ["2026-01-01T12:00:00+01:00", "2026-02-01T00:00:00Z", "2026-03-01T12:00:00+01:00", None]
GENRES = ["novel", "essay", "o'brien", "2026-02-01", None]
ITEMS: list[dict[str, Any]] = [
    {
        "id": f"{n}", "text": f"text of {n}", "at": TIMES[n % 4], "genre": GENRES[n % 5],
        "year": None if n % 4 == 3 else 2000 + n, "score": None if n % 4 == 3 else n / 2,
        "ok": None if n % 4 == 3 else n % 2 == 0,
    }
    for n in range(20)
]  # fmt: skip


@pytest.fixture(scope="module")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Space, Space]:
    """One release, read from LanceDB as when it was served, and from Parquet as after that."""
    warehouse = Warehouse.within(tmp_path_factory.mktemp("where"))
    source = {"metadata": TYPES}
    warehouse.run_without_error(ITEMS, source=source)
    served = warehouse.open()
    served._reader.rows = served._reader.rows.lance  # so small a release would be read from Parquet
    assert len(served.search(vector=[1.0] * 64, k=1)) == 1
    warehouse.run_without_error([*ITEMS, {"id": "new", "text": "a new one"}], source=source)
    return served, warehouse.open().at(1)


def kept(spaces: tuple[Space, Space], where: str | Mapping[str, Any]) -> set[int]:
    """The items that the filter keeps, the same from both."""
    answers = [space.search(vector=[1.0] * 64, k=100, where=where) for space in spaces]
    assert answers[0].sort_by("id").drop(["similarity"]) == (
        answers[1].sort_by("id").drop(["similarity"])
    )
    return {int(id_) for id_ in answers[0]["id"].to_pylist()}


def where_equal(key: str, *values: Any) -> set[int]:
    return {n for n, item in enumerate(ITEMS) if item[key] in values and item[key] is not None}


@pytest.mark.parametrize(
    ("condition", "remainders"),
    [
        ("at >= '2026-02-01'", {1, 2}),
        ("at > '2026-02-01'", {2}),
        ("'2026-02-01' < at", {2}),
        ("at = '2026-01-01T11:00:00Z'", {0}),
        ("at = '2026-01-01 12:00:00+01:00'", {0}),
        ("\"at\" = '2026-01-01T11:00:00'", {0}),
        ("`at` < '2026-02-01'", {0}),
        ("AT<'2026-02-01'", {0}),
        ("at BETWEEN '2026-01-01' AND '2026-02-01'", {0, 1}),
        ("at NOT BETWEEN '2026-01-01' AND '2026-02-01'", {2}),
        ("at IN ('2026-02-01', '2026-03-01T11:00:00Z')", {1, 2}),
        ("at NOT IN ('2026-02-01')", {0, 2}),
        ("at >= timestamp '2026-02-01'", {1, 2}),
        ("at >= date '2026-02-01'", {1, 2}),
        ("(at >= '2026-01-01' AND at < '2026-02-01') OR at IS NULL", {0, 3}),
        ("at >= '0500-01-01'", {0, 1, 2}),
        ("at >= '0001-01-01T00:00+01:00'", {0, 1, 2}),
        ("at = '0001-01-01T00:00+01:00'", set()),
        ("at BETWEEN '0001-01-01T00:00:00.5+14:00' AND '9999-12-31T23:59-14:00'", {0, 1, 2}),
        ("at > '9999-12-31T23:59:59-01:00'", set()),
        ("at = '2026-01-01T12:00:30+01:00:30'", {0}),
    ],
)
def test_a_timestamp_is_compared_with_a_time_in_quotes(
    spaces: tuple[Space, Space], condition: str, remainders: set[int]
) -> None:
    assert kept(spaces, condition) == {n for n in range(20) if n % 4 in remainders}


def test_other_columns_are_compared_as_before(spaces: tuple[Space, Space]) -> None:
    by_text = where_equal("genre", "2026-02-01")
    assert kept(spaces, "genre = '2026-02-01'") == by_text
    assert kept(spaces, "'2026-02-01' = genre") == by_text
    assert kept(spaces, "at >= '2026-01-01' AND genre = '2026-02-01'") == {
        n for n in by_text if n % 4 != 3
    }
    assert kept(spaces, "genre IN ('o''brien', 'novel')") == where_equal(
        "genre", "o'brien", "novel"
    )
    assert kept(spaces, "genre LIKE 'n%' AND year > 2004") == {5, 10}
    assert kept(spaces, "genre IS NULL") == {4, 9, 14, 19}
    assert kept(spaces, "ok AND score < 2.5") == {0, 2, 4}


def test_values(spaces: tuple[Space, Space]) -> None:
    cet = timezone(timedelta(hours=1))
    naive = datetime(2026, 1, 1, 11, tzinfo=UTC).replace(tzinfo=None)
    aware = [datetime(2026, 1, 1, 11, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=cet)]
    for time in ("2026-01-01T11:00:00Z", "2026-01-01 11:00:00", naive, *aware):
        assert kept(spaces, {"at": time}) == {0, 4, 8, 12, 16}
    assert kept(spaces, {"at": ["2026-02-01", datetime(2026, 3, 1, 11, tzinfo=UTC)]}) == {
        n for n in range(20) if n % 4 in {1, 2}
    }
    assert kept(spaces, {"genre": ["novel", "essay"], "ok": True}) == {0, 6, 10, 16}
    assert kept(spaces, {"genre": "o'brien"}) == {2, 7, 12, 17}
    assert kept(spaces, {"year": [2001, 2002, 2003.0]}) == {1, 2}
    assert kept(spaces, {"genre": "x' OR '1'='1"}) == set()


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"genre": None}, "genre IS NULL"),
        ({"genre": ["novel", None]}, "genre IS NULL"),
        ({"genre": []}, "empty list"),
        ({"at": date(2026, 1, 31)}, "at >= '2026-01-31' AND at < '2026-02-01'"),
        ({"at": "yesterday"}, "'at', a timestamp"),
        ({"at": 1767225600}, "'at', a timestamp"),
        ({"at": "0001-01-01T00:00+01:00"}, "'at', a timestamp"),
        ({"at": ["2026-01-01", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))]},
         "'at', a timestamp"),
        ({"genre": 3}, "'genre', a string, with 3"),
        ({"genre": datetime(2026, 1, 1, tzinfo=UTC)}, "'genre', a string"),
        ({"year": "2001"}, "'year', a int64"),
        ({"year": True}, "'year', a int64"),
        ({"year": 2**70}, "'year', a int64"),
        ({"ok": 1}, "'ok', a bool"),
        ({"genre": {"a": 1}}, "no value of a column"),
        ({"gnre": "novel"}, "did you mean 'genre'"),
        ({"vector": 1.0}, "no column 'vector' to compare"),
        ("nope = 1", "No field named nope"),
        ("year = 'x'", "could not convert"),
        ("at >= 'hello'", "could not convert"),
        ("year ===", "refused"),
        ("year", "does not return a boolean"),
        ("never(year) = 1", "Invalid function"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said_in_our_words(
    spaces: tuple[Space, Space], where: Any, says: str
) -> None:
    for space in spaces:
        with pytest.raises(UserMistake) as refusal:
            space.search(vector=[1.0] * 64, where=where)
        said = str(refusal.value)
        assert says in said
        assert not [word for word in (".rs", "cargo", "/src/", "/root") if word in said], said


_TIME = st.sampled_from(["2026-01-01T11:00:00Z", "2026-02-01", "2026-03-01 12:00:00+01:00"])
_ATOM = st.one_of(
    st.builds("at {} '{}'".format, st.sampled_from(["<", ">=", "=", "<>"]), _TIME),
    st.builds("year {} {}".format, st.sampled_from(["<", ">=", "="]), st.integers(1999, 2020)),
    st.builds("genre IN ('{}', 'essay')".format, st.sampled_from(["novel", "o''brien", "2026"])),
    st.sampled_from(["ok", "NOT ok", "score IS NULL", "genre LIKE '%e%'", "score > 2"]),
)
_JOINED = "({} {} {})".format
_CONDITION = st.recursive(
    _ATOM,
    lambda inner: st.builds(_JOINED, inner, st.sampled_from(["AND", "OR"]), inner),
    max_leaves=4,
)
_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "at": st.lists(_TIME, min_size=1, max_size=2),
        "year": st.lists(st.integers(1999, 2020), min_size=1, max_size=6),
        "genre": st.one_of(st.sampled_from(["novel", "o'brien"]), st.just(["essay", "novel"])),
        "ok": st.booleans(),
    },
)


@given(st.one_of(_CONDITION, _VALUES))
def test_a_release_keeps_the_same_rows_wherever_it_is_read_from(
    spaces: tuple[Space, Space], where: Any
) -> None:
    kept(spaces, where)


@given(st.text(alphabet="at'\"`= <>(),20-16INand\n", max_size=40))
def test_a_condition_without_a_column_of_time_is_left_as_it_is(condition: str) -> None:
    assert with_timestamps(condition, set()) == condition
    assert with_timestamps(condition.replace("at", "xx"), {"at"}) == condition.replace("at", "xx")


def test_a_long_list_of_times_takes_no_longer_for_each() -> None:
    """Looking back to the column from each of them took a time that grows with the square."""
    times = [f"{datetime(1800, 1, 1) + timedelta(hours=n)}" for n in range(20_000)]
    listed = "at IN ({})".format(", ".join(f"'{time}'" for time in times))
    begin = perf_counter()
    found = with_timestamps(listed, {"at"})
    assert perf_counter() - begin < 5
    assert found.count("timestamp '") == len(times)
