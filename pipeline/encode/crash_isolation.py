"""Pieces: a shard that killed the process that encoded it is encoded in smaller ones.

First 64 rows at once, then single ones. A single item that kills its process again becomes a
reject, and the rest of its shard is encoded. A piece is a shard of its own, named by what it
holds, so a finished one is not made again either. Rows that are encoded once more for a check
are cut alike.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from commonspace.encoders.protocol import Encoder, Failure, Reason
from commonspace.pipeline.contract.parquet import parquet_bytes_of_groups
from commonspace.pipeline.encode.crash_log import CrashLog
from commonspace.pipeline.encode.shard import encode_shard, failed_rows
from commonspace.pipeline.plan.plan import shard_key
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import has_retryable_failures, read_shard, shard_schema
from commonspace.pipeline.workspace.work import Work

PIECE_ROWS = 64
"""Few steps: each costs a process that loads the model and, where the whole task dies, one of its
six tries. A shard, 64 rows of it, one row, that row again, and once more where each try has a
machine of its own; the sixth ends."""


@dataclass(frozen=True)
class ShardMaker:
    """Makes the shards of a work, in pieces where they have killed before."""

    work: Work
    source: Source
    encoder: Encoder
    progress: Progress

    @cached_property
    def traces(self) -> CrashLog:
        """What earlier processes have died of."""
        return CrashLog(self.work)

    def make(self, key: str, rows: pa.Table) -> str:
        """Encode planned rows, unless that is done; returns where their outcome lies.

        rows: what `encode_shard` takes. Raises what that raises.
        """
        if (place := self.work.finished_shard(key)) is not None:
            return place
        trace = _trace(rows)
        if rows.num_rows == 1 and self.traces.has_exceeded(trace):
            return self._keep(key, [self._killed(rows, "rejected")])
        pieces = self._cut(rows, trace)
        if len(pieces) == 1:
            with self.traces.record_attempt(trace):
                return self._keep(key, self._encode(rows, self.progress))
        return self._join(key, trace, pieces)

    def again(self, rows: pa.Table) -> pa.Table:
        """The outcome of encoding rows once more, kept nowhere.

        rows, raises: as `make`. An item that kills is a failure (`killed_encoder`).
        """
        trace = _trace(rows)
        if rows.num_rows == 1 and self.traces.has_exceeded(trace):
            return self._killed(rows, "not compared")
        pieces = self._cut(rows, trace)
        if len(pieces) == 1:
            with self.traces.record_attempt(trace):
                return pa.concat_tables(self._encode(rows, Progress("encode again", quiet=True)))
        made = pa.concat_tables([self.again(piece) for piece in pieces])
        self.traces.clear(trace)
        return made

    def _cut(self, rows: pa.Table, trace: str) -> list[pa.Table]:
        """The rows in pieces if they have killed, else as they are, but for those known to kill."""
        every = range(rows.num_rows)
        if self.traces.deaths(trace) and len(every) > 1:
            size = PIECE_ROWS if rows.num_rows > PIECE_ROWS else 1
            self._log(f"{rows.num_rows:,} items have killed their process; now {size} at once")
            return [rows.slice(at, size) for at in every[::size]]
        alone = (_trace(rows.slice(at, 1)) for at in every) if self.traces.any_exceeded else ()
        exceeded = [at for at, one in enumerate(alone) if self.traces.has_exceeded(one)]
        if not exceeded:
            return [rows]
        others = rows.take(pa.array(sorted({*every} - {*exceeded}), pa.int64()))
        apart = [rows.slice(at, 1) for at in exceeded]
        return [others, *apart] if others.num_rows else apart

    def _join(self, key: str, trace: str, pieces: list[pa.Table]) -> str:
        """Make each piece, then one shard of them all."""
        store, spec = self.work.run.store, self.work.spec
        places = [self.make(self._key(rows), rows) for rows in pieces]
        whole = self._keep(key, [pa.concat_tables(read_shard(store, at, spec) for at in places)])
        for rows, place in zip(pieces, places, strict=True):
            store.delete(place)
            if not self.traces.has_exceeded(piece := _trace(rows)):
                self.traces.clear(piece)
        self.traces.clear(trace)
        return whole

    def _encode(self, rows: pa.Table, progress: Progress) -> Iterator[pa.Table]:
        run, space = self.work.run, self.work.space
        return encode_shard(
            rows, run.collection, space, self.source, self.encoder, run.id, progress
        )

    def _keep(self, key: str, made: Iterable[pa.Table]) -> str:
        """What would come out the same again is kept for every run, the rest for this one."""
        work, store, passing = self.work, self.work.run.store, False

        def seen() -> Iterator[pa.Table]:
            nonlocal passing
            for rows in made:
                passing = passing or has_retryable_failures(rows)
                yield rows

        data = parquet_bytes_of_groups(shard_schema(work.spec), seen())
        if passing:
            store.put(work.own_shard(key), data)
            return work.own_shard(key)
        if not store.put_if_absent(work.shard(key), data) and work.finished_shard(key) is None:
            store.put(work.shard(key), data)  # what stands there is damaged
        return work.shard(key)

    def _killed(self, rows: pa.Table, fate: str) -> pa.Table:
        item, deaths = rows["id"][0].as_py(), self.traces.deaths(_trace(rows))
        said = f"{deaths} processes have died while they encoded it alone"
        self._log(f"{item!r} is {fate}: {said}")
        failure = Failure(Reason.KILLED_ENCODER, said, retryable=True)
        return failed_rows(rows, failure, self.work.spec, self.work.run.id)

    def _key(self, rows: pa.Table) -> str:
        return shard_key(rows["id"].to_pylist(), rows["digest"].to_pylist(), self.work.run.apart)

    def _log(self, message: str) -> None:
        sys.stderr.write(f"commonspace | {self.work.name}: {message}\n")


def _trace(rows: pa.Table) -> str:
    """What names the trace of rows: a forced run's shards stand apart, what kills does not."""
    return shard_key(rows["id"].to_pylist(), rows["digest"].to_pylist())
