"""How a CSV file is written, guessed from its first bytes: encoding, marks, and the header line.

What a file says itself (a byte order mark, `sep=;`) is read by the source and needs no setting.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from operator import itemgetter
from typing import Any

from commonspace.pipeline.source.conversion.numbers import number
from commonspace.pipeline.source.conversion.table import UNREADABLE
from commonspace.pipeline.source.conversion.times import timestamp_of_text
from commonspace.pipeline.source.text.csv_layout import DELIMITERS

LOOKED_AT = 2**18
"""Characters that decide how the fields are parted; each possibility is tried on them."""
LONGEST_NAME = 80
"""Characters; a first line with a longer field is a record, and no header."""
_UNUSED_MARKS = "\t|;\x1f"
_UNDEFINED_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_NAME = re.compile(r"[\w-]+")
_YEARS = range(1800, 2201)


@dataclass(frozen=True, kw_only=True)
class CsvSettings:
    """The keys of `[source]` that a CSV file needs.

    Attributes:
        columns: made-up names, where the first line names none.
        repeated: names that the first line gives to several columns, which none can be used by.
        doubts: what else the file may be.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    escape: str | None = None
    comment: str | None = None
    columns: tuple[str, ...] | None = None
    repeated: frozenset[str] = field(default=frozenset(), compare=False)
    doubts: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class _Reading:
    """The records of a sample, read with some marks."""

    delimiter: str
    escape: str | None
    comment: str | None
    rows: list[list[str]]
    broken: int

    @cached_property
    def width(self) -> int:
        """The most frequent number of fields."""
        return self._most_frequent[0]

    @cached_property
    def agreement(self) -> float:
        """The share of records that have that many."""
        return self._most_frequent[1] / max(len(self.rows) + self.broken, 1)

    @cached_property
    def _most_frequent(self) -> tuple[int, int]:
        return max(Counter(map(len, self.rows)).items(), key=itemgetter(1), default=(0, 0))


def guess_encoding(sample: bytes) -> tuple[str, str]:
    """The encoding of a text without a byte order mark, and a doubt about it, or an empty text.

    Args:
        sample: its first bytes; the last character may be cut.
    """
    whole_lines = sample[: sample.rfind(b"\n") + 1] or sample[:-4]
    try:
        whole_lines.decode("utf-8")
    except UnicodeDecodeError as error:
        encoding = "latin-1" if _UNDEFINED_IN_CP1252.search(sample) else "cp1252"
        line = whole_lines.count(b"\n", 0, error.start) + 1
        return encoding, (
            f"line {line} is not UTF-8; {encoding} is a guess: check letters with accents"
        )
    return "utf-8", ""


def guess_settings(text: str, encoding: str = "utf-8") -> CsvSettings:
    """The marks and the header line.

    Args:
        text: the beginning of the file, up to a line end; without a byte order mark.
        encoding: what it was decoded from.
    """
    text = text[:LOOKED_AT]
    if match := re.match(r'"?sep=(.)"?\s*\n', text):
        best = _read(text[match.end() :], match[1], None, None)
    else:
        best = _best_reading(text)
    doubts = []
    if best.agreement < 0.99:
        doubts.append(
            f"{1 - best.agreement:.0%} of the first {len(best.rows) + best.broken:,} records "
            f"cannot be read as {best.width} fields, and will be rejects"
        )
    columns = None
    if best.rows and (reason := _why_no_header(best.rows)):
        columns = tuple(f"column_{n}" for n in range(1, len(best.rows[0]) + 1))
        doubts.append(
            f"NO HEADER LINE: {reason}, so the columns are called column_1 to "
            f"column_{len(columns)}; rename them, or remove `columns` if the first line names them"
        )
    names = Counter(name.strip() for name in (best.rows[0] if best.rows and not columns else []))
    return CsvSettings(
        encoding=encoding,
        delimiter=best.delimiter if match is None else ",",
        escape=best.escape,
        comment=best.comment,
        columns=columns,
        repeated=frozenset(name for name, count in names.items() if count > 1),
        doubts=tuple(doubts),
    )


def _best_reading(text: str) -> _Reading:
    """The marks by which most records have the same number of fields, more than one of them."""
    escapes = [None, "\\"] if '\\"' in text else [None]
    comments = [None, "#"] if re.match(r"\s*#", text) else [None]
    readings = [_read(text, *marks) for marks in product(DELIMITERS, escapes, comments)]
    tables = [reading for reading in readings if reading.width > 1 and reading.agreement > 0.5]
    # A header of several names says that there are columns, whatever the records look like.
    tables = tables or [r for r in readings if r.rows and len(r.rows[0]) > 1 and _is_header(r)]
    if tables:
        return max(tables, key=lambda reading: round(reading.agreement, 2))
    unused = next((mark for mark in _UNUSED_MARKS if mark not in text), "\x1f")
    delimiter = "," if "," not in text else unused
    return max(
        (_read(text, delimiter, *marks) for marks in product(escapes, comments)),
        key=lambda reading: reading.agreement,
    )


def _is_header(reading: _Reading) -> bool:
    """Whether the first record could be names: none with a blank, and none twice."""
    names = [name.strip() for name in reading.rows[0]]
    return len(set(names)) == len(names) and all(map(_NAME.fullmatch, names))


def _read(text: str, delimiter: str, escape: str | None, comment: str | None) -> _Reading:
    lines = _lines(text)
    header = next((line for line in lines if line.strip()), "").split(delimiter)
    has_blanks = len(header) > 1 and all(name[:1] == " " for name in header[1:])
    options: dict[str, Any] = {"delimiter": delimiter, "escapechar": escape}
    remaining = iter([line for line in lines if not (comment and line.startswith(comment))])
    rows, broken = list[list[str]](), 0
    while True:
        try:
            reader = csv.reader(remaining, strict=True, skipinitialspace=has_blanks, **options)
            rows.extend(filter(None, reader))
            return _Reading(delimiter, escape, comment, rows, broken)
        except csv.Error:
            broken += 1


def _lines(text: str) -> list[str]:
    """The lines as the source reads them: a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _why_no_header(rows: Sequence[Sequence[str]]) -> str:
    """Why the first record names no columns; an empty text where it may."""
    first, others = rows[0], rows[1:]
    for position, name in enumerate(first):
        below = [row[position] for row in others if position < len(row) and row[position]]
        if _is_number(name) and below and all(map(_is_number, below)) and not _are_years(first):
            return f"{name!r} in the first line is a number, as are those below it"
        if _is_time(name):
            return f"{name!r} in the first line is a time"
        if len(name) > LONGEST_NAME:
            return f"{name[:20] + '…'!r} in the first line is too long for a name"
        if len(name) > 2 and name in below and len(set(below)) < len(below):
            return f"{name!r} in the first line is a value further down, too"
    return ""


def _are_years(fields: Sequence[str]) -> bool:
    """Whether a header names years, as tables with a column for each do."""
    numbers = [int(field) for field in fields if re.fullmatch(r"\d{4}", field.strip())]
    return len(numbers) > 1 and all(year in _YEARS for year in numbers) and len(set(numbers)) > 1


def _is_number(field: str) -> bool:
    try:
        return bool(re.search(r"\d", field)) and number(field) is not None
    except UNREADABLE:
        return False


def _is_time(field: str) -> bool:
    try:
        return len(field.strip()) >= len("2026-01-31") and timestamp_of_text(field) is not None
    except UNREADABLE:
        return False
