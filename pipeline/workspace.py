"""A run's folder: what one stage leaves there for the next.

.runs/<collection>/<run>/run.json  items/  passages/  pull-rejects.parquet
.runs/<collection>/<run>/<space>-vN/plan.parquet  plan.json  canary-*.json  spot-*.json …
.runs/<collection>/shards/<space>-vN-<fingerprint>/<shard>.parquet  traces/<shard>
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from encoders import catalog
from encoders.spec import EncoderSpec
from pipeline.config import Collection, SpaceSection
from pipeline.contract import Contract, SpaceName
from pipeline.errors import Conflict, UserMistake
from pipeline.parquet import read_groups, read_table
from pipeline.passages import has_passages, passages_folder, read_passages, with_items
from pipeline.progress import Progress
from pipeline.records import EVERYTHING, Plan, Release, Scope, space_key
from pipeline.releases import load_release
from pipeline.schemas import PLAN_SCHEMA, items_schema
from pipeline.shards import is_whole, shard_path
from pipeline.store import Store


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
        return f".runs/{self.collection.name}/{self.id}"

    @property
    def apart(self) -> str:
        """What keeps its shards apart from those of other runs; empty where it shares them."""
        return self.id if self.force else ""

    def note(self, pulled: Mapping[str, Any]) -> None:
        """Keep what was pulled, and the scope, for the stages that follow."""
        scope = {
            "partition": self.scope.partition,
            "ids": None if self.scope.ids is None else sorted(self.scope.ids),
        }
        asked = {"scope": scope, "retry_rejects": self.retry_rejects, "force": self.force}
        value = {**pulled, **asked}
        self.store.replace(f"{self.folder}/run.json", json.dumps(value).encode())

    def noted(self) -> dict[str, Any]:
        data = self.store.read(f"{self.folder}/run.json")
        if data is None:
            raise UserMistake("there is no such run, or its pull has not ended", item=self.id)
        return dict(json.loads(data.to_pybytes()))

    @property
    def noted_scope(self) -> Scope:
        scope = self.noted()["scope"]
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

    def path(self, file: str) -> str:
        folder = f"{self.run.folder}/{self.space.name}-v{self.space.version}"
        return f"{folder}/{file}" if file else folder

    def has(self, file: str) -> bool:
        return self.run.store.read(self.path(file)) is not None

    def shard(self, key: str) -> str:
        return shard_path(self.name, self.spec.fingerprint, key)

    def own_shard(self, key: str) -> str:
        return self.path(f"shards/{key}.parquet")

    def finished_shard(self, key: str) -> str | None:
        """The file that holds the shard's outcome, or None where there is no whole one."""
        places = (self.own_shard(key), self.shard(key))
        return next((p for p in places if is_whole(self.run.store, p, self.spec)), None)

    @property
    def shard_files(self) -> list[str]:
        """The plan's finished shards. Raises Conflict where another run has used one up."""
        found = {key: self.finished_shard(key) for key in self.noted("plan.json")["shards"]}
        gone = [key for key, place in found.items() if place is None]
        if gone:
            raise Conflict(f"{len(gone)} finished shards are gone: another run has published them")
        return [place for place in found.values() if place]

    def note(self, file: str, value: Mapping[str, Any]) -> None:
        data = json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
        self.run.store.replace(self.path(file), data)

    def noted(self, file: str) -> dict[str, Any]:
        data = self.run.store.read(self.path(file))
        if data is None:
            raise UserMistake(
                f"the stage that writes {file} has not run", item=f"run {self.run.id}"
            )
        return dict(json.loads(data.to_pybytes()))

    @cached_property
    def base(self) -> Release | None:
        """The release that the plan was made from."""
        number = self.noted("plan.json")["base"]
        return load_release(self.run.store, self.name, number) if number else None


def _items(work: Work, columns: Sequence[str], ids: pa.Array | None = None) -> pa.Table:
    """What the run has pulled, or some ids of it: `id`, the space's `digest`, and `columns`."""
    run, digest = work.run, f"digest:{space_key(work.space)}"
    names = ["id", digest, *columns]
    spaces = [space_key(space) for space in run.collection.space]
    tables = [items_schema(spaces, run.collection.source.metadata).empty_table().select(names)]
    for key in run.store.list(f"{run.folder}/items"):
        data = run.store.read(key)
        if data is not None:
            table = read_table(data, key, names)
            tables.append(table if ids is None else table.filter(_among(table["id"], ids)))
    return pa.concat_tables(tables).rename_columns(["id", "digest", *columns])


def _among(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)


def offered(work: Work, columns: Sequence[str]) -> tuple[pa.Table, int]:
    """The items that carry content for the space, and how many carry none.

    They have `id`, `digest` and those of their `columns` that are asked for; where the space
    has passages, these are the rows, with PASSAGES_SCHEMA beside.
    """
    items = _items(work, columns)
    there = items.filter(pc.is_valid(items["digest"]))
    refused = pull_rejects(work, own=True).num_rows
    absent = items.num_rows - there.num_rows - refused
    if has_passages(work.space):
        folder = passages_folder(work.run.folder, work.space)
        there = with_items(read_passages(work.run.store, folder), there)
    return there, absent


def located(work: Work, ids: pa.Array) -> pa.Table:
    """Where the content of some planned rows lies, in the order of their ids.

    `id`, `digest`, `locator`, `partition`, and PASSAGES_SCHEMA where the space has passages.
    Memory holds these rows only, however many the run has pulled.
    """
    columns = ["locator", "partition"]
    if has_passages(work.space):
        folder = passages_folder(work.run.folder, work.space)
        passages = read_passages(work.run.store, folder, ids)
        items = _items(work, columns, pc.unique(passages["item"]))
        found = with_items(passages, items)
    else:
        found = _items(work, columns, ids)
    return found.take(pc.index_in(ids, value_set=found["id"].combine_chunks()))


def pull_rejects(work: Work, *, own: bool = False) -> pa.Table:
    """What `pull` rejected for this space; `own`: only what it rejected for no other."""
    key = f"{work.run.folder}/pull-rejects.parquet"
    data = work.run.store.read(key)
    if data is None:
        raise UserMistake("the pull stage has not run", item=f"run {work.run.id}")
    table = read_table(data, key)
    mine = pc.fill_null(pc.equal(table["space"], space_key(work.space)), False)
    return table.filter(mine if own else pc.or_(mine, pc.is_null(table["space"])))


def read_plan(work: Work) -> Plan:
    """The plan that the run has made for the space."""
    return Plan(read_table(*_plan_file(work)).cast(PLAN_SCHEMA))


def plan_groups(work: Work, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of the run's plan, some thousand rows at a time."""
    return read_groups(*_plan_file(work), columns)


def _plan_file(work: Work) -> tuple[pa.Buffer, str]:
    key = work.path("plan.parquet")
    data = work.run.store.read(key)
    if data is None:
        raise UserMistake("the plan stage has not run", item=f"run {work.run.id}")
    return data, key


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
    names = (key.rpartition("/")[2] for key in work.run.store.list(work.path("")))
    return [name for name in names if name.startswith(prefix)]


@contextmanager
def timer() -> Iterator[Callable[[], float]]:
    """Yields a function that tells the seconds since the block began."""
    began = time.perf_counter()
    yield lambda: round(time.perf_counter() - began, 3)
