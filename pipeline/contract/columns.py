"""The Arrow schemas of what stages write, and the columns that a spec decides."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from commonspace.encoders.protocol import FACTS
from commonspace.encoders.spec import EncoderSpec

COLUMN_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_PROVENANCE_TYPES = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}


def provenance_fields(spec: EncoderSpec) -> list[pa.Field]:
    """The truth columns of a space, by its modality."""
    return [pa.field(name, _PROVENANCE_TYPES[kind]) for name, kind in FACTS[spec.modality].items()]


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


def passage_fields(spec: EncoderSpec) -> list[pa.Field]:
    """The passage columns of a space, none unless its rows are passages."""
    return PASSAGE_FIELDS if spec.overflow == "rows" else []


def vector_type(spec: EncoderSpec) -> pa.DataType:
    """The Arrow type of a vector column: float32, of the spec's width."""
    return pa.list_(pa.field("element", pa.float32()), spec.dim)
