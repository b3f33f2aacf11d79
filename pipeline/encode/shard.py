"""One shard of the plan becomes rows of vectors and failures.

A shard's name is the digest of what it holds, so a finished one is never made twice,
whichever run, retry or twin of a task asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from commonspace.encoders.protocol import FACTS, Content, Encoder, Failure, Reason
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.source.content import read_content
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.source.records import UnreadableRecord, sha256_hex
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import shard_schema
from commonspace.pipeline.workspace.work import Work

WINDOW_ITEMS = 2048
WINDOW_BYTES = 64 * 2**20
"""A window ends at either: the contents that are loaded and encoded together."""


@dataclass(frozen=True, slots=True)
class LoadedItem:
    """A planned item with its content, or with why that could not be loaded."""

    id: str
    digest: str
    content: Content | Failure


def encode_shard(
    rows: pa.Table, work: Work, source: Source, encoder: Encoder, progress: Progress
) -> Iterator[pa.Table]:
    """Encode planned rows into those of one shard, window by window.

    The next window is loaded while this one is encoded; memory holds these two.

    Args:
        rows: `id`, `digest`, `locator`. Where rows are passages, `passage_start` and
            `passage_end` say what to encode of a text.
        work: the run's work on the space.
        source: where the contents are loaded from.
        encoder: makes the vectors.
        progress: advanced by each window's items.

    Yields:
        Rows of `shard_schema`, in the order of `rows`.

    Raises:
        ContractBroken: the encoder breaks its protocol.
    """
    windows = _windows(_load_items(rows, work, source))
    with ThreadPoolExecutor(1, "load") as loader:
        next_window = loader.submit(next, windows, None)
        while (window := next_window.result()) is not None:
            next_window = loader.submit(next, windows, None)
            encoded = _encode_window(window, encoder, work.run.id)
            progress.advance(len(window))
            yield encoded


def failed_rows(rows: pa.Table, failure: Failure, spec: EncoderSpec, run: str) -> pa.Table:
    """The rows of a shard for planned ones (`id`, `digest`) that all fail alike."""
    window = [LoadedItem(row["id"], row["digest"], failure) for row in rows.to_pylist()]
    facts: list[dict[str, Any]] = [dict.fromkeys(FACTS[spec.modality]) for _ in window]
    vectors = np.zeros((len(window), spec.dim), np.float32)
    failures = dict.fromkeys(range(len(window)), failure)
    return _shard_rows(window, vectors, facts, failures, spec, run)


def _load_items(rows: pa.Table, work: Work, source: Source) -> Iterator[LoadedItem]:
    """Each planned item's content; one that is no longer what was planned is a failure."""
    # The passages of an item follow each other: its record is loaded once for all of them.
    locators = [locator for locator, _ in groupby(rows["locator"].to_pylist())]
    access = FileAccess.of(work.run.collection)
    rows_by_locator = groupby(_as_dicts(rows), itemgetter("locator"))
    for (_, group), record in zip(rows_by_locator, source.load(locators), strict=True):
        content = (
            record.failure
            if isinstance(record, UnreadableRecord)
            else read_content(record, work.space, access)
        )
        for row in group:
            yield LoadedItem(row["id"], row["digest"], _planned_content(content, row))


def _as_dicts(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(WINDOW_ITEMS):
        yield from batch.to_pylist()


def _planned_content(
    record_content: Content | Failure | None, row: Mapping[str, Any]
) -> Content | Failure:
    """The part of a record's content that the plan wants, or why it is not that any more."""
    content = record_content
    if "passage_start" in row and not isinstance(record_content, Failure | None):
        content = record_content[row["passage_start"] : row["passage_end"]]
    if content is None or not _is_as_planned(content, row["digest"]):
        message = "the source changed after it was pulled"
        return Failure(Reason.CHANGED_DURING_RUN, message, retryable=True)
    return content


def _is_as_planned(content: Content | Failure, digest: str) -> bool:
    """False for other content, and for a lasting failure where `pull` read a content."""
    return content.retryable if isinstance(content, Failure) else sha256_hex(content) == digest


def _windows(items: Iterator[LoadedItem]) -> Iterator[list[LoadedItem]]:
    window: list[LoadedItem] = []
    size = 0
    for item in items:
        window.append(item)
        size += 0 if isinstance(item.content, Failure) else len(item.content)
        if len(window) == WINDOW_ITEMS or size > WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _encode_window(window: Sequence[LoadedItem], encoder: Encoder, run: str) -> pa.Table:
    spec = encoder.spec
    loaded, contents = [], []
    failures: dict[int, Failure] = {}
    for position, item in enumerate(window):
        if isinstance(item.content, Failure):
            failures[position] = item.content
        else:
            loaded.append(position)
            contents.append(item.content)
    encoded = encoder.encode(contents)
    failures |= {loaded[n]: failure for n, failure in encoded.failures.items()}
    unreadable = {loaded[n]: failure for n, failure in encoded.unreadable.items()}
    positions = [loaded[n] for n in encoded.positions.tolist()]
    _check(encoded.vectors, [*positions, *failures], len(window), spec)
    vectors = np.zeros((len(window), spec.dim), np.float32)
    facts: list[dict[str, Any]] = [dict.fromkeys(FACTS[spec.modality]) for _ in window]
    are_bad = bad_vectors(encoded.vectors, spec)
    for position, vector, vector_facts, is_bad in zip(
        positions, encoded.vectors, encoded.facts, are_bad, strict=True
    ):
        facts[position] = dict(vector_facts)
        if is_bad:
            message = "the vector is not finite or not of unit norm"
            failures[position] = Failure(Reason.BAD_VECTOR, message)
        elif position in unreadable:
            failures[position] = unreadable[position]
        else:
            vectors[position] = vector
    return _shard_rows(window, vectors, facts, failures, spec, run)


def _check(vectors: np.ndarray, outcomes: list[int], count: int, spec: EncoderSpec) -> None:
    """Raises ContractBroken where the encoder breaks its protocol; `outcomes`: positions."""
    shape, dtype = vectors.shape, vectors.dtype
    if len(shape) != 2 or shape[1] != spec.dim or dtype != np.float32:
        raise ContractBroken(
            f"the encoder gave {dtype} vectors of shape {shape}, its spec says float32 (n, "
            f"{spec.dim})",
            item=spec.label,
        )
    if sorted(outcomes) != list(range(count)):
        raise ContractBroken(
            f"the encoder gave outcomes for {len(set(outcomes))} of {count} contents",
            item=spec.label,
        )


def _shard_rows(
    window: Sequence[LoadedItem],
    vectors: np.ndarray,
    facts: list[dict[str, Any]],
    failures: dict[int, Failure],
    spec: EncoderSpec,
    run: str,
) -> pa.Table:
    schema = shard_schema(spec)
    row_failures = [failures.get(position) for position in range(len(window))]
    flat = pa.array(vectors.reshape(-1), pa.float32())
    columns: dict[str, Any] = {
        "id": [item.id for item in window],
        "content_digest": [item.digest for item in window],
        "vector": pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
        **{name: [row[name] for row in facts] for name in FACTS[spec.modality]},
        "encoded_at": [datetime.now(UTC)] * len(window),
        "run": [run] * len(window),
        "reason": [failure and str(failure.reason) for failure in row_failures],
        "message": [failure and failure.message for failure in row_failures],
        "retryable": [failure and failure.retryable for failure in row_failures],
    }
    return pa.table(columns, schema=schema)
