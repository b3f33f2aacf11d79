"""A space that a model serves, to be run again after its files have changed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonspace.pipeline.config.files import load_collection
from commonspace.pipeline.release.manifest import release_numbers
from tests.support.collection_file import write_collection
from tests.support.command_line import Answer, CommandLine
from tests.support.warehouse import NAME, Warehouse


def published_files(warehouse: Warehouse) -> dict[str, str]:
    """Every file of the warehouse but the runs' own, with its checksum; finished shards too."""
    return {
        str(path.relative_to(warehouse.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in warehouse.root.rglob("*")
        if path.is_file() and (".runs" not in path.parts or "shards" in path.parts)
    }


def refused(answer: Answer, says: str) -> None:
    """Exit code 1 or 2, one message, no traceback; it names what is the matter."""
    assert answer.returncode in (1, 2), answer
    assert "Traceback" not in answer.stderr
    assert answer.stderr.count("commonspace: ") == 1, answer.stderr
    assert says in answer.stderr, answer.stderr


def unpublished_shards(warehouse: Warehouse) -> list[str]:
    """What was encoded and is in no release; the canary's reference is none of it."""
    return [
        k for k in published_files(warehouse) if "shards" in k and not k.endswith("canary.parquet")
    ]


@dataclass(frozen=True)
class Served:
    """A warehouse with a release of a model in `model/`, and the model as it was."""

    warehouse: Warehouse
    space: Mapping[str, Any]
    pristine: Path
    rows: list[dict[str, Any]]

    @property
    def model(self) -> Path:
        return self.warehouse.folder / "model"

    def offer(self, rows: list[dict[str, Any]], space: Mapping[str, Any] | None = None) -> None:
        """Write the collection file, and the items it offers."""
        write_collection(self.warehouse.folder, rows, spaces=[space or self.space])

    def restore(self) -> None:
        shutil.rmtree(self.model, ignore_errors=True)
        shutil.rmtree(self.warehouse.folder / "other", ignore_errors=True)
        shutil.copytree(self.pristine, self.model)
        self.offer(self.rows)


def serve(folder: Path, space: dict[str, Any], rows: list[dict[str, Any]], model: Path) -> Served:
    """Publish the first rows with `model`, leaving the others to encode."""
    folder.mkdir(exist_ok=True)
    served = Served(Warehouse.within(folder), space, model, rows)
    served.restore()
    served.offer(rows[:-2])
    served.warehouse.run_without_error(load_collection(folder / "things.toml"))
    assert release_numbers(served.warehouse.store, NAME) == [1]
    served.offer(rows)
    return served


def assert_refused_and_served(
    served: Served, command: CommandLine, says: str, query: str | None = "river"
) -> None:
    """Nothing is encoded or published; what was served is served, but to no other query."""
    warehouse = served.warehouse
    command.use(warehouse)
    before = published_files(warehouse)
    refused(command("run", "things"), says)
    assert published_files(warehouse) == before
    assert not unpublished_shards(warehouse)
    space = warehouse.open()
    ids = [row["id"] for row in served.rows[:-2]]
    assert space.get(ids)["found"].to_pylist() == [True] * len(ids)
    assert len(space.search(id=ids[0], k=2)) == 2
    if query is not None:
        refused(command("search", "things/text", query), says)


TEXT_SPACE = {"name": "text", "encoder": "./model", "fields": ["text"]}
IMAGE_SPACE = {
    "name": "text", "encoder": "torchvision/resnet18", "weights": "./model/resnet18.safetensors",
    "image": "image", "layer": "layer2", "pooling": "average",
}  # fmt: skip
