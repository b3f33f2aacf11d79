"""Finished shards: vectors by content, kept until a release holds them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from encoders.spec import EncoderSpec
from pipeline.contract import SpaceName
from pipeline.errors import Conflict
from pipeline.parquet import read_table
from pipeline.records import shard_schema
from pipeline.store import Store


def shard_path(name: SpaceName, fingerprint: str, shard: str) -> str:
    """Where a shard of a space lies; every run of the same fingerprint looks there."""
    space = f"{name.space}-v{name.version}-{fingerprint[:16]}"
    return f".runs/{name.collection}/shards/{space}/{shard}.parquet"


def read_shard(store: Store, key: str, spec: EncoderSpec) -> pa.Table:
    """A finished shard, its columns checked. Raises Conflict where a twin has used it up."""
    data = store.read(key)
    if data is None:
        raise Conflict(f"the finished shard {key} is gone: another run has published it")
    return read_table(data, key).cast(shard_schema(spec))


def is_finished(store: Store, key: str, spec: EncoderSpec, run: str) -> bool:
    """Whether the shard needs no more work.

    One that holds failures which trying again may help is finished only for the run that
    made it: the next run tries them again.
    """
    if store.read(key) is None:
        return False
    shard = read_shard(store, key, spec)
    passing = pc.any(pc.fill_null(shard["retryable"], False)).as_py()
    return not passing or shard["run"][0].as_py() == run
