"""The footer of a Parquet file: where the pages of its columns are.

pyarrow knows it too, but where it is asked for a column that is encrypted, or whose entry is
damaged, it ends the whole process.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from commonspace.pipeline.source.row_groups.thrift import Fields, ThriftReader

_TAIL_BYTES = 8
"""The length of the footer and the magic."""

# Numbers of fields in parquet.thrift.
_ROW_GROUPS = 4
_COLUMNS, _ROWS = 1, 3
_METADATA, _CRYPTO = 3, 8
_COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 7, 9, 11


@dataclass(frozen=True)
class Chunk:
    """The bytes of a file that hold the pages of one column in one row group; `end` exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class RowGroup:
    """How many rows a group has, and the chunks of some of its columns.

    chunks: by the number of the column; None where it is encrypted.
    """

    rows: int
    chunks: Mapping[int, Chunk | None]


def read_row_groups(file: BinaryIO, columns: Collection[int]) -> list[RowGroup]:
    """The row groups of a file.

    Args:
        file: it ends as a Parquet file does.
        columns: the numbers of those whose chunks are wanted: columns of values, in the order of
            the schema.

    Raises:
        ValueError: the footer is damaged.
    """
    try:
        file.seek(-_TAIL_BYTES, 2)
        size = int.from_bytes(file.read(4), "little")
        file.seek(-_TAIL_BYTES - size, 2)
        groups = ThriftReader(file.read(size)).read_struct()[_ROW_GROUPS]
        return [_row_group(group, columns) for group in groups]
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError("its footer makes no sense") from error


def _row_group(group: Fields, columns: Collection[int]) -> RowGroup:
    found = group[_COLUMNS]
    if group[_ROWS] < 0:
        raise ValueError("a row group has a negative number of rows")
    return RowGroup(group[_ROWS], {number: _chunk(found[number]) for number in columns})


def _chunk(column: Mapping[int, Any]) -> Chunk | None:
    metadata = column.get(_METADATA)
    if metadata is None or _CRYPTO in column:
        return None
    starts = [start for name in (_DATA_PAGE, _DICTIONARY_PAGE) if (start := metadata.get(name))]
    start, size = min(starts), metadata[_COMPRESSED]
    if start < 0 or size < 0:
        raise ValueError("a column lies outside of the file")
    return Chunk(start, start + size)
