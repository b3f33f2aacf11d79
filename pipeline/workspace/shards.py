"""Finished shards: vectors by content, kept until a release holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.encoders.protocol import Reason
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.columns import provenance_fields, vector_type
from commonspace.pipeline.contract.parquet import read_row_groups
from commonspace.pipeline.errors import Conflict, ContractBroken
from commonspace.pipeline.storage.store import Store


def shard_schema(spec: EncoderSpec) -> pa.Schema:
    """What `encode` writes: a vector, or a reason why there is none, for each content.

    A row with a `reason` is a failure; its vector is zeros and is never published.
    """
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("content_digest", pa.string(), nullable=False),
            pa.field("vector", vector_type(spec), nullable=False),
            *provenance_fields(spec),
            pa.field("encoded_at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("run", pa.string(), nullable=False),
            pa.field("reason", pa.string()),
            pa.field("message", pa.string()),
            pa.field("retryable", pa.bool_()),
        ]
    )


def read_shard(
    store: Store,
    key: str,
    spec: EncoderSpec,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
) -> pa.Table:
    """A finished shard in one table; arguments and errors as `shard_groups`."""
    groups = shard_groups(store, key, spec, columns, ids)
    return pa.concat_tables([_select(spec, columns).empty_table(), *groups])


def shard_groups(
    store: Store,
    key: str,
    spec: EncoderSpec,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
) -> Iterator[pa.Table]:
    """A finished shard, some thousand rows at a time, its columns checked.

    Args:
        store: where it lies.
        key: its file.
        spec: that of its space.
        columns: those to read; all of them by default.
        ids: those to read; all of them by default.

    Raises:
        Conflict: another run has published it, and removed it.
        ContractBroken: it is damaged.
    """
    data = store.read(key)
    if data is None:
        raise Conflict(f"the finished shard {key} is gone: another run has published it")
    schema = _select(spec, columns)
    # An earlier version of commonspace may have left it without a column that has come since.
    optional = frozenset(field.name for field in provenance_fields(spec))
    groups = read_row_groups(data, key, schema.names, ids, optional)
    return (_in_schema(group, schema) for group in groups)


def is_readable(store: Store, key: str, spec: EncoderSpec) -> bool:
    """Whether the shard exists and can be read; a damaged one is worth nothing."""
    try:
        rows = sum(group.num_rows for group in shard_groups(store, key, spec))
    except (Conflict, ContractBroken, pa.ArrowException, ValueError):
        return False
    return bool(rows)


def has_transient_failures(shard: pa.Table) -> bool:
    """Whether a shard has failures that another run may not have: it may have another limit."""
    costly = pc.equal(shard["reason"], str(Reason.IMAGE_TOO_COSTLY))
    transient = pc.or_kleene(shard["retryable"], costly)
    return bool(pc.any(pc.fill_null(transient, False)).as_py())


def _in_schema(group: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in all columns of the schema, null where they lack one."""
    for field in schema:
        if field.name not in group.column_names:
            group = group.append_column(field, pa.nulls(group.num_rows, field.type))
    return group.select(schema.names).cast(schema)


def _select(spec: EncoderSpec, columns: Sequence[str] | None) -> pa.Schema:
    schema = shard_schema(spec)
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])
