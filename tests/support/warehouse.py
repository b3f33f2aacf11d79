"""A test's warehouse: collections are written, run into it, read and verified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.maintenance.verify import verify_space
from commonspace.pipeline.plan.stage import plan_stage
from commonspace.pipeline.pull.stage import pull_stage
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.run.run import new_run_id, run_collection
from commonspace.pipeline.storage.store import Store, open_store
from commonspace.pipeline.workspace.work import Run, Work
from tests.support.collection_file import write_collection

NAME = SpaceName("things", "text", 1)
SPACE = "things/text"
"""The space of a collection as `write_collection` writes it by default."""
RUN_OPTIONS = {"scope", "retry_rejects", "force", "delete_missing"}
Items = Collection | Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Warehouse:
    """A warehouse, and the folder of the collection files that are run into it."""

    folder: Path
    store: Store

    @classmethod
    def within(cls, folder: Path) -> Warehouse:
        """A warehouse of its own, beside the collection files in the folder."""
        return cls(folder, open_store(str(folder / "warehouse")))

    @property
    def address(self) -> str:
        return self.store.address

    @property
    def root(self) -> Path:
        """The folder of a local warehouse."""
        return Path(self.store.address)

    def collection(
        self, items: Sequence[Mapping[str, Any]] | None = None, **options: Any
    ) -> Collection:
        """A collection as `write_collection` writes it."""
        return load_collection(write_collection(self.folder, items, **options))

    def run(self, items: Items = None, **options: Any) -> dict[str, Any]:
        """The report of a run over a collection of one space; see `run_spaces`."""
        (report,) = self.run_spaces(items, **options)
        return report

    def run_without_error(self, items: Items = None, **options: Any) -> dict[str, Any]:
        """The report of a run that no gate or error stopped; see `run_spaces`."""
        report = self.run(items, **options)
        assert "error" not in report, report
        return report

    def run_spaces(
        self,
        items: Items = None,
        *,
        promote: bool | None = None,
        log: Callable[[str], None] = lambda _: None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """A run's reports, one for each space.

        Args:
            items: A collection, or the items of one that is written first.
            promote: As `run_collection` takes it.
            log: What takes the run's messages.
            options: RUN_OPTIONS are those of `Run`; all others are those of `write_collection`.
        """
        run_options = {key: options.pop(key) for key in RUN_OPTIONS & options.keys()}
        collection = items if isinstance(items, Collection) else self.collection(items, **options)
        run = Run(new_run_id(), collection, self.store, quiet=True, **run_options)
        return run_collection(run, list(collection.space), promote=promote, log=log)

    def publish_releases(self, count: int, *, items: int = 1) -> None:
        """As many releases; each has so many items more than the one before."""
        for number in range(1, count + 1):
            self.run(numbered_items(number * items))

    def planned(
        self, collection: Collection, run: str = "", **options: Any
    ) -> tuple[Work, list[str]]:
        """The work of a collection's first space, pulled and planned, and its shards."""
        work = self.work(collection, run, **options)
        pull_stage(work.run)
        return work, list(plan_stage(work).shards)

    def work(self, collection: Collection, run: str = "", **options: Any) -> Work:
        """The work of a collection's first space, before any stage."""
        run_id = run or new_run_id()
        return Work(Run(run_id, collection, self.store, quiet=True, **options), collection.space[0])

    def open(self, space: str = SPACE) -> Space:
        return open_space(space, warehouse=self.address)

    def verify(self, space: str = SPACE, **options: Any) -> dict[str, Any]:
        return verify_space(self.store, space, **options).to_json()


def numbered_items(
    count: int, *, first: int = 0, text: str = "the text of item {}", **fields: Any
) -> list[dict[str, Any]]:
    """Items `i0000`, `i0001`, …, each with a text of its own, and the same further fields."""
    return [
        {"id": f"i{n:04}", "text": text.format(n), **fields} for n in range(first, first + count)
    ]


def items_with_images(count: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Items of a text and an image each, and the files of the images, which are no pictures."""
    items = [{"id": f"i{n}", "text": f"text {n}", "image": f"{n}.jpg"} for n in range(count)]
    return items, {f"{n}.jpg": f"bytes of {n}".encode() for n in range(count)}
