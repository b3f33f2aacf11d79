"""Finished shards: vectors by content, kept until a release holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from encoders.spec import EncoderSpec
from pipeline.contract import SpaceName
from pipeline.errors import Conflict, ContractBroken
from pipeline.parquet import read_groups
from pipeline.schemas import shard_schema
from pipeline.store import Store


def shard_path(name: SpaceName, fingerprint: str, shard: str) -> str:
    """Where a shard of a space lies; every run of the same fingerprint looks there.

    Only what would come out the same again lies there. A shard with failures that may pass
    lies in the folder of the run that met them, and the next run tries them again.
    """
    return f"{_folder(name, fingerprint)}/{shard}.parquet"


def traces_folder(name: SpaceName, fingerprint: str) -> str:
    """Where the traces of those lie that died while they encoded a shard of the space."""
    return f"{_folder(name, fingerprint)}/traces"


def _folder(name: SpaceName, fingerprint: str) -> str:
    space = f"{name.space}-v{name.version}-{fingerprint[:16]}"
    return f".runs/{name.collection}/shards/{space}"


def read_shard(
    store: Store,
    key: str,
    spec: EncoderSpec,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
) -> pa.Table:
    """A finished shard, or some ids of it, as `shard_groups` gives it, in one table."""
    wanted = _columns(spec, columns)
    return pa.concat_tables([wanted.empty_table(), *shard_groups(store, key, spec, columns, ids)])


def shard_groups(
    store: Store,
    key: str,
    spec: EncoderSpec,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
) -> Iterator[pa.Table]:
    """A finished shard, or some ids of it, some thousand rows at a time, its columns checked.

    Raises Conflict where a twin has used it up, ContractBroken where it is damaged.
    """
    data = store.read(key)
    if data is None:
        raise Conflict(f"the finished shard {key} is gone: another run has published it")
    wanted = _columns(spec, columns)
    return (group.cast(wanted) for group in read_groups(data, key, wanted.names, ids))


def _columns(spec: EncoderSpec, columns: Sequence[str] | None) -> pa.Schema:
    schema = shard_schema(spec)
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def is_whole(store: Store, key: str, spec: EncoderSpec) -> bool:
    """Whether the shard is there and can be read; a damaged one is worth nothing."""
    try:
        rows = sum(group.num_rows for group in shard_groups(store, key, spec))
    except (Conflict, ContractBroken, pa.ArrowException, ValueError):
        return False
    return bool(rows)


def has_passing_failures(shard: pa.Table) -> bool:
    """Whether it holds failures that trying again may help."""
    return bool(pc.any(pc.fill_null(shard["retryable"], False)).as_py())
