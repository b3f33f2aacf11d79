"""A table of typed columns, and the same table in every format that can hold it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

FORMATS = ("csv", "jsonl", "parquet")


class Kind(NamedTuple):
    """A type of values, and how each format writes one; Parquet has them as they are."""

    values: st.SearchStrategy[Any]
    arrow: pa.DataType
    text: Callable[[Any], str] = str
    json: Callable[[Any], Any] = lambda value: value


def _float_text(value: float) -> str:
    return "" if value != value else json.dumps(value)


TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
NUMBERS_AS_TEXT = st.sampled_from(
    ["7", " 7 ", "7.0", "7.5", "1e3", "1,999", "NA", "NaN", "true", "FALSE", "0", "1", " ", "-",
     "2024-05-01", "2024-05-01T12:00:00Z", "20240501", "1714564800", "1714564800000", "inf"]
)  # fmt: skip
# Eight digits are a day of ISO 8601 as text, and no timestamp as a number.
INTEGERS = (st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1)).filter(
    lambda n: not 10**7 <= n < 10**8
)
FLOATS = (st.floats() | INTEGERS.map(float)).filter(lambda x: not 2**53 <= abs(x) <= 2**63)
"""Without those that are one of several integers: of a text, every digit counts."""
SCALARS = {
    "text": Kind(TEXT | NUMBERS_AS_TEXT, pa.string()),
    "integer": Kind(INTEGERS, pa.int64()),
    "float": Kind(FLOATS, pa.float64(), _float_text),
    "boolean": Kind(st.booleans(), pa.bool_(), json.dumps),
    "decimal": Kind(
        st.decimals(-(10**9), 10**9, places=2), pa.decimal128(20, 2), "{:f}".format, "{:f}".format
    ),
    "date": Kind(st.dates(), pa.date32(), json=str),
    "timestamp": Kind(
        st.datetimes(timezones=st.just(UTC)), pa.timestamp("us", "UTC"),
        lambda value: value.isoformat(), lambda value: value.isoformat(),
    ),
    "time": Kind(st.times(), pa.time64("us"), json=str),
    "uuid": Kind(st.uuids(), pa.uuid(), json=str),
}  # fmt: skip
NESTED = {
    "list": Kind(
        st.lists(st.none() | INTEGERS | st.just(2), max_size=2), pa.list_(pa.int64()), json.dumps
    ),
    "struct": Kind(
        st.fixed_dictionaries({"b": TEXT, "a": st.none() | st.booleans()}),
        pa.struct({"b": pa.string(), "a": pa.bool_()}),
        lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False),
    ),
}
IDS = {
    "text": Kind(TEXT, pa.string()),
    "integer": Kind(INTEGERS, pa.int64()),
    "decimal": Kind(
        INTEGERS.map(Decimal), pa.decimal128(38, 0), "{:f}".format, lambda value: int(value)
    ),
    "uuid": SCALARS["uuid"],
}


@dataclass(frozen=True)
class Column:
    """A column: its name, its kind, a value (or None) for each row, and the files it is in."""

    name: str
    kind: Kind
    values: Sequence[Any]
    files: frozenset[int]


@dataclass(frozen=True)
class Table:
    """Columns of some rows, which are dealt out to files; some have two more of one name."""

    columns: Sequence[Column]
    bounds: Sequence[int]
    has_repeated_names: bool

    def written(self, form: str) -> list[bytes]:
        """The files of a format."""
        write = {"csv": self._csv, "jsonl": self._jsonl, "parquet": self._parquet}[form]
        return [
            write([column for column in self.columns if number in column.files], start, end)
            for number, (start, end) in enumerate(
                zip([0, *self.bounds[:-1]], self.bounds, strict=True)
            )
        ]

    def _extras(self) -> list[str]:
        return ["extra", "extra"] if self.has_repeated_names else []

    def _csv(self, columns: Sequence[Column], start: int, end: int) -> bytes:
        sink = io.StringIO(newline="")
        writer = csv.writer(sink)
        writer.writerow([*(column.name for column in columns), *self._extras()])
        for row in range(start, end):
            cells = [
                "" if column.values[row] is None else column.kind.text(column.values[row])
                for column in columns
            ]
            writer.writerow([*cells, *self._extras()])
        return sink.getvalue().encode()

    def _jsonl(self, columns: Sequence[Column], start: int, end: int) -> bytes:
        lines = []
        for row in range(start, end):
            found = {column.name: (column, column.values[row]) for column in columns}
            item = {
                name: None if value is None else column.kind.json(value)
                for name, (column, value) in found.items()
                if value is not None or row % 2  # null is left out in every other line
            }
            lines.append(json.dumps(item, ensure_ascii=bool(row % 3)) + "\n")
        return "".join(lines).encode()

    def _parquet(self, columns: Sequence[Column], start: int, end: int) -> bytes:
        arrays = [_arrow(column.values[start:end], column.kind.arrow) for column in columns]
        arrays += [pa.array(range(start, end))] * len(self._extras())
        names = [*(column.name for column in columns), *self._extras()]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_arrays(arrays, names), sink, row_group_size=2)
        return bytes(sink.getvalue().to_pybytes())


def _arrow(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind != pa.uuid():
        return pa.array(values, kind)
    raw = pa.array([None if value is None else value.bytes for value in values], pa.binary(16))
    return pa.ExtensionArray.from_storage(kind, raw)


@st.composite
def tables(draw: st.DrawFn, metadata: Sequence[str]) -> Table:
    """Tables of an id, two texts and up to three columns of metadata."""
    rows = draw(st.integers(1, 3))
    metadata = draw(st.lists(st.sampled_from(metadata), max_size=3, unique=True))
    bounds = sorted({draw(st.integers(1, rows)), rows})
    names = {"id": IDS, "title": SCALARS, "blurb": SCALARS}
    names |= dict.fromkeys(metadata, SCALARS | NESTED)
    columns = []
    for name, kinds in names.items():
        kind = kinds[draw(st.sampled_from(sorted(kinds)))]
        values = draw(st.lists(st.none() | kind.values, min_size=rows, max_size=rows))
        lacking = draw(st.booleans()) if name != "id" and len(bounds) > 1 else False
        files = frozenset({1}) if lacking else frozenset(range(len(bounds)))
        columns.append(Column(name, kind, values, files))
    return Table(columns, bounds, draw(st.booleans()))
