"""What a column of a table seems to hold, by the values of a sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from math import isfinite
from types import NoneType
from typing import Any
from uuid import UUID

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.source.content import parse_id
from commonspace.pipeline.source.conversion.table import UNREADABLE, convert
from commonspace.pipeline.source.records import Record

EXACT_DIGITS = 15
"""Of a decimal number: a float64 keeps as many."""
_INTEGER = re.compile(r"\s*(0|-?[1-9]\d*)\s*", re.ASCII)
_DECIMAL = re.compile(r"\s*-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?\s*", re.ASCII)
_MOMENT = re.compile(r"\s*\d{4}-\d\d-\d\d([T ].*)?\s*", re.ASCII)
_ADDRESS = re.compile(r"\S+://\S+|www\.\S+|\S+@\S+\.\S+")
_PATH = re.compile(r"[^\s/]*(/[^/\n]*)+|[^/\n]{1,200}\.[A-Za-z0-9]{2,5}")


@dataclass(frozen=True)
class Column:
    """A column of a sample.

    Attributes:
        name: as the table has it.
        values: those that are not null, in the order of the records.
        records: how many records the sample has.
        is_of_text: whether the format has only texts, so that numbers show by their digits.
    """

    name: str
    values: Sequence[Any]
    records: int
    is_of_text: bool

    @cached_property
    def type(self) -> str | None:
        """The type of `metadata` that loses nothing of any value; None where none can hold it."""
        values = self.values
        if values and all(type(value) is str for value in values):
            return _type_of_texts(values, self.is_of_text)
        kind = _type_of(values)
        return kind if _fits(values, kind) else None

    @cached_property
    def texts(self) -> Sequence[str] | None:
        """The values where each is a text, a number beside texts, or a list of them; else None."""
        parts = [value if isinstance(value, list) else [value] for value in self.values]
        kinds = {type(text) for part in parts for text in part}
        if str not in kinds or not kinds <= {str, int, float, NoneType}:
            return None
        return ["\n".join(map(str, filter(None, part))) for part in parts]

    @property
    def is_complete(self) -> bool:
        """Whether every record has a value."""
        return len(self.values) == self.records

    @cached_property
    def is_unique(self) -> bool:
        """Whether each value is an id, and no two are the same."""
        ids = [parse_id(value) for value in self.values]
        return not any(isinstance(item, Failure) for item in ids) and len(set(ids)) == len(ids)

    @property
    def distinct_share(self) -> float:
        """The share of values that are different texts."""
        return len(set(map(str, self.values))) / max(len(self.values), 1)

    @property
    def words(self) -> float:
        """How many words a text has on average; 0 where the column has other values."""
        texts = self.texts or []
        return sum(len(text.split()) for text in texts) / max(len(texts), 1)

    @property
    def blank_share(self) -> float:
        """The share of texts that are blank, of which no vector is made."""
        texts = self.texts or []
        return sum(not text.strip() for text in texts) / max(len(texts), 1)

    @property
    def longest(self) -> int:
        """Characters of the longest text."""
        return max(map(len, self.texts or [""]), default=0)

    @property
    def is_address(self) -> bool:
        """Whether the texts are addresses or paths, which say little to an encoder."""
        texts = self.texts or []
        found = sum(bool(_ADDRESS.fullmatch(t) or _PATH.fullmatch(t)) for t in texts)
        return found > len(texts) / 2


def columns_of(
    records: Sequence[Record], names: Sequence[str], *, is_of_text: bool
) -> dict[str, Column]:
    """The columns of some records by their names."""
    found = {}
    for name in names:
        values = [value for record in records if not _is_null(value := record.values.get(name))]
        found[name] = Column(name, values, len(records), is_of_text)
    return found


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value) or value != value


def _type_of_texts(values: Sequence[str], has_numbers: bool) -> str | None:
    """A type whose values are written as these texts are: `007` is no number."""
    filled = [value for value in values if value.strip()]
    if not filled:
        return "string"
    if has_numbers:
        if all(map(_INTEGER.fullmatch, filled)) and _fits(values, "int64"):
            return "int64"
        if all(map(_is_exact_decimal, filled)) and _fits(values, "float64"):
            return "float64"
        if all(value.strip().lower() in {"true", "false"} for value in filled):
            return "bool"
    if all(map(_MOMENT.fullmatch, filled)) and _fits(values, "timestamp"):
        return "timestamp"
    return "string" if _fits(values, "string") else None


def _is_exact_decimal(value: str) -> bool:
    digits = re.sub(r"[eE].*|\D", "", value).lstrip("0")
    return _DECIMAL.fullmatch(value) is not None and len(digits) <= EXACT_DIGITS


def _type_of(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "bool"
    if kinds and kinds <= {int}:
        return "int64" if _fits(values, "int64") else "string"
    if kinds and kinds <= {datetime, date}:
        return "timestamp"
    if kinds and kinds <= {Decimal} and _fits(values, "int64"):
        return "int64"
    is_number = not kinds & {bool, str, bytes, list, dict, Decimal, UUID, datetime, date}
    is_finite = all(isfinite(v) for v in values if isinstance(v, float))  # JSON's 1e999
    if kinds and is_number and is_finite and _fits(values, "float64"):
        return "float64"
    return "string"


def _fits(values: Sequence[Any], kind: str) -> bool:
    try:
        for value in values:
            made = convert(value, kind)
            if isinstance(made, str):
                made.encode()
    except UNREADABLE:
        return False
    return True


def by_name(columns: Mapping[str, Column], pattern: re.Pattern[str]) -> list[Column]:
    """The columns whose name, in lower case, has the pattern as a whole."""
    return [column for name, column in columns.items() if pattern.fullmatch(name.lower())]
