"""A run's folder: what one stage leaves there for the next.

.runs/<collection>/<run>/run.json  items/  passages/  pull-rejects.parquet
.runs/<collection>/<run>/<space>-vN/plan.parquet  plan.json  canary-*.json  spot-*.json …
.runs/<collection>/shards/<space>-vN-<fingerprint>/<shard>.parquet  traces/<shard>
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from commonspace.encoders import catalog
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import run_file, run_folder, shard_path
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, UserMistake
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.source.records import EVERYTHING, Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import is_readable


@dataclass(frozen=True)
class Run:
    """One run over one collection: what it may touch, and where its files lie."""

    id: str
    collection: Collection
    store: Store
    scope: Scope = EVERYTHING
    retry_rejects: bool = False
    quiet: bool = False
    force: bool = False
    """Whether it encodes again what is published."""

    @property
    def folder(self) -> str:
        return run_folder(self.collection.name, self.id)

    @property
    def apart(self) -> str:
        """What keeps its shards apart from those of other runs; empty where it shares them."""
        return self.id if self.force else ""

    def write_note(self, pulled: Mapping[str, Any]) -> None:
        """Keep what was pulled, and the scope, for the stages that follow."""
        scope = {
            "partition": self.scope.partition,
            "ids": None if self.scope.ids is None else sorted(self.scope.ids),
        }
        asked = {"scope": scope, "retry_rejects": self.retry_rejects, "force": self.force}
        value = {**pulled, **asked}
        self.store.put(f"{self.folder}/run.json", json.dumps(value).encode())

    def read_note(self) -> dict[str, Any]:
        data = self.store.read(f"{self.folder}/run.json")
        if data is None:
            raise UserMistake("there is no such run, or its pull has not ended", item=self.id)
        return dict(json.loads(data.to_pybytes()))

    @property
    def scope_of_pull(self) -> Scope:
        scope = self.read_note()["scope"]
        ids = None if scope["ids"] is None else frozenset(scope["ids"])
        return Scope(scope["partition"], ids)

    def progress(self, label: str, total: int | None = None) -> Progress:
        return Progress(label, total, quiet=self.quiet)


@dataclass(frozen=True)
class Work:
    """A run's work on one of its spaces."""

    run: Run
    space: SpaceSection

    @cached_property
    def name(self) -> SpaceName:
        return SpaceName(self.run.collection.name, self.space.name, self.space.version)

    @cached_property
    def spec(self) -> EncoderSpec:
        return catalog.describe(self.run.collection.reference(self.space))

    @cached_property
    def contract(self) -> Contract:
        return Contract.of(self.name, self.spec, self.run.collection.source.metadata)

    @property
    def folder(self) -> str:
        return f"{self.run.folder}/{self.name.folder}"

    def path(self, file: str) -> str:
        return run_file(self.run.collection.name, self.run.id, self.name, file)

    def has(self, file: str) -> bool:
        return self.run.store.read(self.path(file)) is not None

    def shard(self, key: str) -> str:
        return shard_path(self.name, self.spec.fingerprint, key)

    def own_shard(self, key: str) -> str:
        return self.path(f"shards/{key}.parquet")

    def finished_shard(self, key: str) -> str | None:
        """The file that holds the shard's outcome, or None where there is no whole one."""
        places = (self.own_shard(key), self.shard(key))
        return next((p for p in places if is_readable(self.run.store, p, self.spec)), None)

    @property
    def shard_files(self) -> list[str]:
        """The plan's finished shards. Raises Conflict where another run has used one up."""
        found = {key: self.finished_shard(key) for key in self.read_note("plan.json")["shards"]}
        gone = [key for key, place in found.items() if place is None]
        if gone:
            raise Conflict(f"{len(gone)} finished shards are gone: another run has published them")
        return [place for place in found.values() if place]

    def write_note(self, file: str, value: Mapping[str, Any]) -> None:
        data = json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
        self.run.store.put(self.path(file), data)

    def read_note(self, file: str) -> dict[str, Any]:
        data = self.run.store.read(self.path(file))
        if data is None:
            raise UserMistake(
                f"the stage that writes {file} has not run", item=f"run {self.run.id}"
            )
        return dict(json.loads(data.to_pybytes()))

    @cached_property
    def base(self) -> Release | None:
        """The release that the plan was made from."""
        number = self.read_note("plan.json")["base"]
        return load_release(self.run.store, self.name, number) if number else None


def encode_notes(work: Work) -> list[str]:
    """The notes of the shards that this run has encoded itself."""
    return _notes(work, "encode-")


def canary_notes(work: Work) -> list[str]:
    """The notes of the canary's flights in this run, one a process that encoded."""
    return _notes(work, "canary-")


def spot_notes(work: Work) -> list[str]:
    """The notes of the spot checks of published rows, one a process that encoded."""
    return _notes(work, "spot-")


def _notes(work: Work, prefix: str) -> list[str]:
    names = (key.rpartition("/")[2] for key in work.run.store.list(work.folder))
    return [name for name in names if name.startswith(prefix)]


@contextmanager
def timer() -> Iterator[Callable[[], float]]:
    """Yields a function that tells the seconds since the block began."""
    began = time.perf_counter()
    yield lambda: round(time.perf_counter() - began, 3)
