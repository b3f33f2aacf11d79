"""Crash isolation: a shard whose encoding crashed the process is encoded in smaller shards.

First 64 rows at a time, then single ones. A single item whose encoding crashes again becomes a
reject, and the rest of its shard is encoded. A smaller shard is named by what it holds, as any
shard is, so a finished one is not made again either. Rows that are encoded again for a check
are split alike.
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
from commonspace.pipeline.plan.plan import shard_name
from commonspace.pipeline.source.protocol import Source
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import has_transient_failures, read_shard, shard_schema
from commonspace.pipeline.workspace.work import Work

SMALL_SHARD_ROWS = 64
"""Few steps: each costs a process that loads the model and, where the whole task dies, one of its
six tries. A shard, 64 rows of it, one row, that row again, and once more where each try has a
machine of its own; the sixth ends."""


@dataclass(frozen=True)
class ShardMaker:
    """Makes the shards of a run's work, as smaller ones where a process has crashed before."""

    work: Work
    source: Source
    encoder: Encoder
    progress: Progress

    @cached_property
    def crash_log(self) -> CrashLog:
        """The crashes of earlier processes."""
        return CrashLog(self.work)

    def make(self, shard: str, rows: pa.Table) -> str:
        """Encode planned rows, unless that is done.

        Args:
            shard: its name.
            rows: what `encode_shard` takes.

        Returns:
            the file of the finished shard.

        Raises:
            ContractBroken: the encoder breaks its protocol.
        """
        if (file := self.work.finished_shard(shard)) is not None:
            return file
        if self._must_skip(rows):
            return self._store(shard, [self._crashed(rows, "is rejected")])
        smaller = self._split(rows)
        if len(smaller) > 1:
            return self._make_from(shard, rows, smaller)
        with self.crash_log.record_attempt(_log_name(rows)):
            return self._store(shard, self._encode(rows, self.progress))

    def encode_again(self, rows: pa.Table) -> pa.Table:
        """The rows of a shard, encoded once more and not stored; arguments and errors as `make`.

        An item whose encoding crashes the process is a failure (`killed_encoder`).
        """
        if self._must_skip(rows):
            return self._crashed(rows, "is not compared")
        smaller = self._split(rows)
        if len(smaller) > 1:
            encoded = pa.concat_tables([self.encode_again(part) for part in smaller])
            self.crash_log.clear(_log_name(rows))
            return encoded
        with self.crash_log.record_attempt(_log_name(rows)):
            return pa.concat_tables(self._encode(rows, Progress("encode again", quiet=True)))

    def _must_skip(self, rows: pa.Table) -> bool:
        """Whether this is a single item, and more than one process crashed on it."""
        return rows.num_rows == 1 and self.crash_log.has_exceeded(_log_name(rows))

    def _split(self, rows: pa.Table) -> list[pa.Table]:
        """The rows in smaller parts if a process crashed on them, else whole.

        Items that are known to crash the process stand alone in any case.
        """
        positions = range(rows.num_rows)
        if self.crash_log.crashes(_log_name(rows)) and len(positions) > 1:
            size = SMALL_SHARD_ROWS if rows.num_rows > SMALL_SHARD_ROWS else 1
            self._log(
                f"a process crashed while it encoded {rows.num_rows:,} items; trying {size} at a "
                "time"
            )
            return [rows.slice(position, size) for position in positions[::size]]
        if not self.crash_log.any_exceeded:
            return [rows]
        singles = [rows.slice(position, 1) for position in positions]
        crashing = [n for n in positions if self.crash_log.has_exceeded(_log_name(singles[n]))]
        if not crashing:
            return [rows]
        others = rows.take(pa.array(sorted({*positions} - {*crashing}), pa.int64()))
        alone = [singles[n] for n in crashing]
        return [others, *alone] if others.num_rows else alone

    def _make_from(self, shard: str, rows: pa.Table, smaller: list[pa.Table]) -> str:
        """Make the smaller shards, then one of them all."""
        store, spec = self.work.run.store, self.work.spec
        files = [self.make(self._shard_name(part), part) for part in smaller]
        tables = (read_shard(store, file, spec) for file in files)
        whole = self._store(shard, [pa.concat_tables(tables)])
        for part, file in zip(smaller, files, strict=True):
            store.delete(file)
            if not self.crash_log.has_exceeded(_log_name(part)):
                self.crash_log.clear(_log_name(part))
        self.crash_log.clear(_log_name(rows))
        return whole

    def _encode(self, rows: pa.Table, progress: Progress) -> Iterator[pa.Table]:
        return encode_shard(rows, self.work, self.source, self.encoder, progress)

    def _store(self, shard: str, tables: Iterable[pa.Table]) -> str:
        """What would come out the same again is stored for every run, the rest for this one."""
        work, store, is_temporary = self.work, self.work.run.store, False

        def watched() -> Iterator[pa.Table]:
            nonlocal is_temporary
            for table in tables:
                is_temporary = is_temporary or has_transient_failures(table)
                yield table

        data = parquet_bytes_of_groups(shard_schema(work.spec), watched())
        if is_temporary:
            store.put(work.own_shard(shard), data)
            return work.own_shard(shard)
        file = work.shared_shard(shard)
        if not store.put_if_absent(file, data) and work.finished_shard(shard) is None:
            store.put(file, data)  # the file that exists is damaged
        return file

    def _crashed(self, rows: pa.Table, consequence: str) -> pa.Table:
        """The failure of a single item whose encoding crashes the process."""
        item, crashes = rows["id"][0].as_py(), self.crash_log.crashes(_log_name(rows))
        # Releases store and compare the messages of rejects: the wording stays as it is.
        message = f"{crashes} processes have died while they encoded it alone"
        self._log(f"{item!r} {consequence}: {message}")
        failure = Failure(Reason.KILLED_ENCODER, message, retryable=True)
        return failed_rows(rows, failure, self.work.spec, self.work.run.id)

    def _shard_name(self, rows: pa.Table) -> str:
        ids, digests = rows["id"].to_pylist(), rows["digest"].to_pylist()
        return shard_name(ids, digests, self.work.run.shard_salt)

    def _log(self, message: str) -> None:
        sys.stderr.write(f"commonspace | {self.work.name}: {message}\n")


def _log_name(rows: pa.Table) -> str:
    """The name of rows in the crash log: unsalted, for a forced run crashes on the same items."""
    return shard_name(rows["id"].to_pylist(), rows["digest"].to_pylist())
