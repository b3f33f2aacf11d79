"""A run's folder: what one stage leaves there for the next.

.runs/<collection>/<run>/run.json  items/  passages/  pull-rejects.parquet
.runs/<collection>/<run>/<space>-vN/plan.parquet  plan.json  canary-*.json  spot-*.json …
.runs/<collection>/shards/<space>-vN-<fingerprint>/<shard>.parquet  traces/<shard>
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from commonspace.encoders import catalog
from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import SpaceSection, space_key
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.documents import read_document
from commonspace.pipeline.contract.layout import run_file_key, run_folder, shard_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, UserMistake
from commonspace.pipeline.release.manifest import Release, load_release
from commonspace.pipeline.source.content import content_recipe
from commonspace.pipeline.source.records import EVERYTHING, Scope
from commonspace.pipeline.storage.store import Store
from commonspace.pipeline.workspace.notes import Note, PlanSummary, RunNote
from commonspace.pipeline.workspace.progress import Progress
from commonspace.pipeline.workspace.shards import is_readable

AnyNote = TypeVar("AnyNote", bound=Note)
NEW_RUN = "Start a new run: it uses what is encoded already."


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
    delete_missing: bool = False
    """Whether it deletes rows whose file is gone, empty, cut or unreadable."""

    @property
    def folder(self) -> str:
        """Of what is common to all its spaces."""
        return run_folder(self.collection.name, self.id)

    @property
    def shard_salt(self) -> str:
        """Goes into its shards' names: its id where they are its own, nothing where it shares."""
        return self.id if self.force else ""

    def write_note(self, note: RunNote) -> None:
        """Keep what was pulled, and how the run was started, for the stages that follow."""
        self.store.put(f"{self.folder}/{note.FILE}", json.dumps(note.to_json()).encode())

    def read_note(self) -> RunNote:
        """What `pull` left behind.

        Raises:
            UserMistake: there is no such run, or its pull has not ended.
        """
        note = self.find_note()
        if note is None:
            raise UserMistake("there is no such run, or its pull has not ended", item=self.id)
        return note

    def find_note(self) -> RunNote | None:
        """What `pull` left behind; None where it has not ended."""
        key = f"{self.folder}/{RunNote.FILE}"
        data = self.store.read(key)
        return None if data is None else read_document(data, key, RunNote.from_json, NEW_RUN)

    def as_started(self) -> Run:
        """This run with the scope and the options that its `pull` was given."""
        note = self.read_note()
        return replace(
            self,
            scope=note.scope,
            retry_rejects=note.retry_rejects,
            force=note.force,
            delete_missing=note.delete_missing,
        )

    def progress(self, label: str, total: int | None = None) -> Progress:
        """The progress of one stage; `total` items, where that is known."""
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
        return catalog.describe(self.run.collection.encoder_reference(self.space))

    @cached_property
    def contract(self) -> Contract:
        """What the run publishes under; its recipe is that of the contents it has pulled."""
        collection, note = self.run.collection, self.run.find_note()
        pulled = note.recipes.get(space_key(self.space)) if note else None
        recipe = pulled or content_recipe(self.space)
        return Contract.of(self.name, self.spec, collection.source.published_types, recipe)

    @property
    def folder(self) -> str:
        """Of what is of this space, below the run's."""
        return f"{self.run.folder}/{self.name.folder}"

    def path(self, file: str) -> str:
        """The key of a file in the work's folder."""
        return run_file_key(self.run.collection.name, self.run.id, self.name, file)

    def has(self, file: str) -> bool:
        """Whether the work's folder has a file of that name."""
        return self.run.store.exists(self.path(file))

    def shared_shard(self, shard: str) -> str:
        """The file of a shard that all runs share."""
        return shard_key(self.name, self.spec.fingerprint, shard)

    def own_shard(self, shard: str) -> str:
        """The file of a shard that is this run's alone: a retry may end otherwise."""
        return self.path(f"shards/{shard}.parquet")

    def finished_shard(self, shard: str) -> str | None:
        """The file that holds the shard's outcome, or None where there is no whole one."""
        files = (self.own_shard(shard), self.shared_shard(shard))
        return next((f for f in files if is_readable(self.run.store, f, self.spec)), None)

    @property
    def shard_files(self) -> list[str]:
        """The files of the plan's finished shards.

        Raises:
            Conflict: another run has published one of them, and removed it.
        """
        files = [self.finished_shard(shard) for shard in self.read_note(PlanSummary).shards]
        finished = [file for file in files if file is not None]
        if gone := len(files) - len(finished):
            raise Conflict(f"{gone} finished shards are gone: another run has published them")
        return finished

    @cached_property
    def base(self) -> Release | None:
        """The release that the plan was made from."""
        number = self.read_note(PlanSummary).base
        return load_release(self.run.store, self.name, number) if number else None

    def write_note(self, note: Note, key: str = "") -> None:
        """Keep a stage's record; `key`: what stands for the `*` in its file's name."""
        document = json.dumps(note.to_json(), indent=1, sort_keys=True)
        self.run.store.put(self.path(note.FILE.replace("*", key)), document.encode() + b"\n")

    def read_note(self, kind: type[AnyNote]) -> AnyNote:
        """The record that a stage has left.

        Raises:
            UserMistake: that stage has not run.
        """
        note = self.find_note(kind)
        if note is None:
            raise UserMistake(
                f"the stage that writes {kind.FILE} has not run", item=f"run {self.run.id}"
            )
        return note

    def find_note(self, kind: type[AnyNote]) -> AnyNote | None:
        """The record that a stage has left; None where it has not run."""
        return self._note(kind, self.path(kind.FILE))

    def read_notes(self, kind: type[AnyNote]) -> list[AnyNote]:
        """All records of a kind that has several, in the order of their files' names."""
        prefix = self.path(kind.FILE.partition("*")[0])
        keys = [key for key in self.run.store.list(self.folder) if key.startswith(prefix)]
        return [note for key in keys if (note := self._note(kind, key)) is not None]

    def _note(self, kind: type[AnyNote], key: str) -> AnyNote | None:
        data = self.run.store.read(key)
        return None if data is None else read_document(data, key, kind.from_json, NEW_RUN)


@contextmanager
def timer() -> Iterator[Callable[[], float]]:
    """Yields a function that returns the seconds since the block began."""
    began = time.perf_counter()
    yield lambda: round(time.perf_counter() - began, 3)
