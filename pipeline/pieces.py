"""Pieces: a shard that killed the process that encoded it is encoded in smaller ones.

First 64 rows at once, then single ones. A single item that kills its process again becomes a
reject, and the rest of its shard is encoded. A piece is a shard of its own, named by what it
holds, so a finished one is not made again either.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from encoders.protocol import Encoder, Failure, Reason
from pipeline.encode import encode_shard, failed_rows
from pipeline.parquet import table_bytes
from pipeline.plan import shard_key
from pipeline.progress import Progress
from pipeline.shards import has_passing_failures, read_shard
from pipeline.source import Source
from pipeline.traces import Traces
from pipeline.workspace import Work

PIECE_ROWS = 64
"""Few steps: each costs a process that loads the model and, where the whole task dies, one of its
five tries. A shard, 64 rows of it, one row, that row again; the fifth try ends."""


@dataclass(frozen=True)
class Pieces:
    """Makes the shards of a work, in pieces where they have killed before."""

    work: Work
    source: Source
    encoder: Encoder
    progress: Progress

    @cached_property
    def traces(self) -> Traces:
        """What earlier processes have died of."""
        return Traces(self.work)

    def make(self, key: str, rows: pa.Table) -> str:
        """Encode planned rows, unless that is done; returns where their outcome lies.

        rows: what `encode_shard` takes. Raises what that raises.
        """
        if (place := self.work.finished_shard(key)) is not None:
            return place
        deaths = self.traces.deaths(key)
        if rows.num_rows == 1 and self.traces.is_fatal(key):
            return self._keep(key, self._killed(rows, deaths))
        pieces = self._cut(rows, deaths)
        if len(pieces) == 1:
            with self.traces.left_by_a_death(key):
                return self._keep(key, self._encode(rows))
        if deaths:
            most = max(piece.num_rows for piece in pieces)
            self._tell(f"{rows.num_rows:,} items have killed their process; now {most} at once")
        return self._join(key, pieces)

    def _cut(self, rows: pa.Table, deaths: int) -> list[pa.Table]:
        """The rows in pieces if they have killed, else as they are, but for those known to kill."""
        every = range(rows.num_rows)
        if deaths:
            size = PIECE_ROWS if rows.num_rows > PIECE_ROWS else 1
            return [rows.slice(at, size) for at in every[::size]]
        keys = (self._key(rows.slice(at, 1)) for at in every) if self.traces.any_fatal else ()
        fatal = [at for at, key in enumerate(keys) if self.traces.is_fatal(key)]
        if not fatal:
            return [rows]
        others = rows.take(pa.array(sorted({*every} - {*fatal}), pa.int64()))
        alone = [rows.slice(at, 1) for at in fatal]
        return [others, *alone] if others.num_rows else alone

    def _join(self, key: str, pieces: list[pa.Table]) -> str:
        """Make each piece, then one shard of them all."""
        store, spec = self.work.run.store, self.work.spec
        places = {}
        for rows in pieces:
            piece = self._key(rows)
            places[piece] = self.make(piece, rows)
        made = pa.concat_tables(read_shard(store, place, spec) for place in places.values())
        whole = self._keep(key, made)
        for piece, place in places.items():
            store.delete(place)
            if not self.traces.is_fatal(piece):
                self.traces.forget(piece)
        self.traces.forget(key)
        return whole

    def _encode(self, rows: pa.Table) -> pa.Table:
        run, space = self.work.run, self.work.space
        return encode_shard(
            rows, run.collection, space, self.source, self.encoder, run.id, self.progress
        )

    def _keep(self, key: str, made: pa.Table) -> str:
        """What would come out the same again is kept for every run, the rest for this one."""
        work, store, data = self.work, self.work.run.store, table_bytes(made)
        if has_passing_failures(made):
            store.replace(work.own_shard(key), data)
            return work.own_shard(key)
        if not store.create(work.shard(key), data) and work.finished_shard(key) is None:
            store.replace(work.shard(key), data)  # what stands there is damaged
        return work.shard(key)

    def _killed(self, rows: pa.Table, deaths: int) -> pa.Table:
        item = rows["id"][0].as_py()
        said = f"{deaths} processes have died while they encoded it alone"
        self._tell(f"{item!r} is rejected: {said}")
        failure = Failure(Reason.KILLED_ENCODER, said, retryable=True)
        return failed_rows(rows, failure, self.work.spec, self.work.run.id)

    def _key(self, rows: pa.Table) -> str:
        return shard_key(rows["id"].to_pylist(), rows["digest"].to_pylist(), self.work.run.apart)

    def _tell(self, message: str) -> None:
        sys.stderr.write(f"commonspace | {self.work.name}: {message}\n")
