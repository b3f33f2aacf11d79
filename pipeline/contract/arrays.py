"""Values of Python and numpy into Arrow's arrays, and back, without pandas.

`pa.array`, `to_numpy` and times in `to_pylist` import pandas wherever it is installed, to ask
whether a value is one of its own: half a second, as long as all else that a look-up of rows takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def string_array(texts: Sequence[str]) -> pa.StringArray:
    """The texts, of at most 2 GB together.

    Raises:
        UnicodeEncodeError: one has a lone surrogate.
    """
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    data = pa.py_buffer(b"".join(encoded))
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), data)


def number_array(numbers: NDArray[Any]) -> pa.Array:
    """The numbers (n,) of a type that both have; their memory is shared where it is contiguous."""
    contiguous = np.ascontiguousarray(numbers)
    buffers = [None, pa.py_buffer(contiguous)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), buffers)


def numbers_of(array: pa.Array) -> NDArray[Any]:
    """The numbers (n,) of a numeric array, read-only, in the array's own memory.

    Where some are null, it is a copy, of floats, with NaN for each.
    """
    if array.null_count:
        return np.asarray(array)
    numbers: NDArray[Any] = np.from_dlpack(array)
    return numbers


def empty_table(schema: pa.Schema) -> pa.Table:
    """A table without rows."""
    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as `Table.to_pylist` gives them; of a name that occurs twice, the last column.

    Raises:
        OverflowError: a time is not within the years 1 to 9999.
    """
    columns = [_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if column.type != _TIMESTAMP:
        return list(column.to_pylist())
    since_epoch = column.cast(pa.int64()).to_pylist()
    return [None if n is None else _EPOCH + timedelta(microseconds=n) for n in since_epoch]
