"""What every verb of the command line shares: how it is asked, how it answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import (
    collection_files,
    collections_folder,
    load_collection,
    warehouse_address,
)
from commonspace.pipeline.errors import UserMistake

CHECKOUT = Path(__file__).resolve().parents[2]
"""The repository, where this is not installed from a wheel: links to it are followed."""

CollectionArgument = Annotated[str, typer.Argument(help="A collection's name, or its TOML file.")]
SpaceArgument = Annotated[str, typer.Argument(help="collection/space or collection/space/vN.")]
PartitionOption = Annotated[str | None, typer.Option(help="Only this partition of the source.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def print_result(value: Any, as_json: bool, render: Callable[[Any], None]) -> None:
    """The value on standard output: as a table, or as one JSON document."""
    if as_json:
        sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")
    else:
        render(value)


def log(message: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"commonspace | {message}\n")


def warehouse() -> Any:
    """The store that COMMONSPACE_WAREHOUSE names."""
    from commonspace.pipeline.storage.store import open_store

    return open_store(warehouse_address())


def whole_files() -> list[Collection]:
    """The collection files that can be read; what is wrong with the others is said."""
    found = []
    for path in collection_files() if collections_folder().is_dir() else ():
        try:
            found.append(load_collection(path))
        except UserMistake as error:
            log(str(error))
    return found
