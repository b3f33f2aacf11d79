"""The columns of a space that its spec decides, and the vectors out of a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.encoders.protocol import FACTS
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.arrays import numbers_of

COLUMN_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""The types that a metadata column may be declared with."""
PASSAGE_FIELDS = [
    pa.field("item", pa.string(), nullable=False),
    pa.field("passage", pa.int32(), nullable=False),
    pa.field("passage_start", pa.int32(), nullable=False),
    pa.field("passage_end", pa.int32(), nullable=False),
]
"""Which item a passage is of, its number from 0, and where it stands in the item's text.

The text is what `read_content` gives: the space's fields joined by line breaks, in NFC. The
passage is `text[passage_start:passage_end]` in Python: characters are Unicode code points.
"""
_PROVENANCE_TYPES = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}


def provenance_fields(spec: EncoderSpec) -> list[pa.Field]:
    """The columns that say what of the content each vector rests on, by the spec's modality."""
    return [pa.field(name, _PROVENANCE_TYPES[kind]) for name, kind in FACTS[spec.modality].items()]


def passage_fields(spec: EncoderSpec) -> list[pa.Field]:
    """The passage columns of a space, none unless its rows are passages."""
    return PASSAGE_FIELDS if spec.overflow == "rows" else []


def vector_type(spec: EncoderSpec) -> pa.DataType:
    """The Arrow type of a vector column: a list of `spec.dim` float32 numbers."""
    return pa.list_(pa.field("element", pa.float32()), spec.dim)


def vectors_of(table: pa.Table, dim: int) -> NDArray[np.float32]:
    """The column `vector` of a table, as (n, dim) float32, a row for each row.

    It is a read-only view of the column where that is one chunk, else a copy.
    """
    column = table["vector"]
    chunk = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return np.asarray(numbers_of(chunk.flatten()), np.float32).reshape(-1, dim)
