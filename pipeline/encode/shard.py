"""Encode: one shard of the plan into one file of vectors and failures.

A shard's name is the digest of what it holds, so a finished one is never made twice,
whichever run, retry or twin of a task asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from commonspace.encoders.protocol import FACTS, Content, Encoder, Failure, Reason
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.source.content import read_content
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import UnreadableRecord, sha256_hex
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import shard_schema

WINDOW_ITEMS = 2048
WINDOW_BYTES = 64 * 2**20

Loaded = tuple[str, str, Content | Failure]
"""id, planned digest, content."""


def encode_shard(
    work: pa.Table,
    collection: Collection,
    space: SpaceSection,
    source: Source,
    encoder: Encoder,
    run: str,
    progress: Progress,
) -> Iterator[pa.Table]:
    """Encode `work` (`id`, `digest`, `locator`) into the rows of one shard, window by window.

    Where rows are passages, `passage_start` and `passage_end` say what to encode of a text.
    The next window is loaded while this one is encoded; memory holds these two.
    Raises ContractBroken where the encoder breaks its protocol.
    """
    windows = _windows(_load(work, collection, space, source))
    with ThreadPoolExecutor(1, "load") as ahead:
        waiting = ahead.submit(next, windows, None)
        while (window := waiting.result()) is not None:
            waiting = ahead.submit(next, windows, None)
            made = _encode_window(window, encoder, run)
            progress.advance(len(window))
            yield made


def failed_rows(work: pa.Table, failure: Failure, spec: EncoderSpec, run: str) -> pa.Table:
    """The rows of a shard for planned ones (`id`, `digest`) that all fail alike."""
    window = [(row["id"], row["digest"], failure) for row in work.to_pylist()]
    facts: list[dict[str, Any]] = [dict.fromkeys(FACTS[spec.modality]) for _ in window]
    vectors = np.zeros((len(window), spec.dim), np.float32)
    return _table(window, vectors, facts, dict.fromkeys(range(len(window)), failure), spec, run)


def _load(
    work: pa.Table, collection: Collection, space: SpaceSection, source: Source
) -> Iterator[Loaded]:
    """Each planned item's content; one that is no longer what was planned is a failure."""
    # The passages of an item follow each other: its record is loaded once for all of them.
    locators = [locator for locator, _ in groupby(work["locator"].to_pylist())]
    rows_of = groupby(_rows(work), itemgetter("locator"))
    for (_, rows), record in zip(rows_of, source.load(locators), strict=True):
        whole = (
            record.failure
            if isinstance(record, UnreadableRecord)
            else read_content(record, space, collection.source.image_root)
        )
        for row in rows:
            yield row["id"], row["digest"], _planned(whole, row)


def _rows(work: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in work.to_batches(WINDOW_ITEMS):
        yield from batch.to_pylist()


def _planned(whole: Content | Failure | None, row: Mapping[str, Any]) -> Content | Failure:
    """What the plan wants of a content, or why it is not what was planned any more."""
    content = whole
    if "passage_start" in row and not isinstance(whole, Failure | None):
        content = whole[row["passage_start"] : row["passage_end"]]
    if content is None or not _as_planned(content, row["digest"]):
        message = "the source changed after it was pulled"
        return Failure(Reason.CHANGED_DURING_RUN, message, retryable=True)
    return content


def _as_planned(content: Content | Failure, digest: str) -> bool:
    """False for other content, and for a lasting failure where `pull` read a content."""
    return content.retryable if isinstance(content, Failure) else sha256_hex(content) == digest


def _windows(items: Iterator[Loaded]) -> Iterator[list[Loaded]]:
    window: list[Loaded] = []
    size = 0
    for item in items:
        window.append(item)
        size += 0 if isinstance(item[2], Failure) else len(item[2])
        if len(window) == WINDOW_ITEMS or size > WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _encode_window(window: Sequence[Loaded], encoder: Encoder, run: str) -> pa.Table:
    spec = encoder.spec
    loaded = [n for n, (_, _, content) in enumerate(window) if not isinstance(content, Failure)]
    contents = [content for _, _, content in window if not isinstance(content, Failure)]
    failures = {n: c for n, (_, _, c) in enumerate(window) if isinstance(c, Failure)}
    encoded = encoder.encode(contents)
    failures |= {loaded[n]: failure for n, failure in encoded.failures.items()}
    at = [loaded[n] for n in encoded.positions.tolist()]
    _check(encoded.vectors, [*at, *failures], len(window), spec)
    vectors = np.zeros((len(window), spec.dim), np.float32)
    facts: list[dict[str, Any]] = [dict.fromkeys(FACTS[spec.modality]) for _ in window]
    for row, vector, truth in zip(at, encoded.vectors, encoded.facts, strict=True):
        vectors[row] = vector
        facts[row] = dict(truth)
    for row in (
        row for row, bad in zip(at, bad_vectors(encoded.vectors, spec), strict=True) if bad
    ):
        failures[row] = Failure(Reason.BAD_VECTOR, "the vector is not finite or not of unit norm")
        vectors[row] = 0
    return _table(window, vectors, facts, failures, spec, run)


def _check(vectors: np.ndarray, outcomes: list[int], count: int, spec: EncoderSpec) -> None:
    shape, dtype = vectors.shape, vectors.dtype
    if len(shape) != 2 or shape[1] != spec.dim or dtype != np.float32:
        raise ContractBroken(
            f"the encoder gave {dtype} vectors of shape {shape}, its spec says float32 (n, "
            f"{spec.dim})",
            item=spec.label,
        )
    if sorted(outcomes) != list(range(count)):
        raise ContractBroken(
            f"the encoder answered for {len(set(outcomes))} of {count} contents", item=spec.label
        )


def _table(
    window: Sequence[Loaded],
    vectors: np.ndarray,
    facts: list[dict[str, Any]],
    failures: dict[int, Failure],
    spec: EncoderSpec,
    run: str,
) -> pa.Table:
    schema = shard_schema(spec)
    faults = [failures.get(n) for n in range(len(window))]
    flat = pa.array(vectors.reshape(-1), pa.float32())
    columns: dict[str, Any] = {
        "id": [item for item, _, _ in window],
        "content_digest": [digest for _, digest, _ in window],
        "vector": pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
        **{name: [truth[name] for truth in facts] for name in FACTS[spec.modality]},
        "encoded_at": [datetime.now(UTC)] * len(window),
        "run": [run] * len(window),
        "reason": [fault and str(fault.reason) for fault in faults],
        "message": [fault and fault.message for fault in faults],
        "retryable": [fault and fault.retryable for fault in faults],
    }
    return pa.table(columns, schema=schema)
