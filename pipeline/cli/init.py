"""The verb that begins: init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.options import JsonOption
from commonspace.pipeline.cli.output import log, print_result
from commonspace.pipeline.config.places import collections_folder

if TYPE_CHECKING:
    from commonspace.pipeline.config.collection import Collection
    from commonspace.pipeline.init.init import Written

app = typer.Typer()


@app.command()
def init(
    path: Annotated[
        str, typer.Argument(help="A folder, a CSV, JSONL or Parquet file, or a glob in quotes.")
    ],
    name: Annotated[
        str | None, typer.Option(help="The collection's name; by default that of the data.")
    ] = None,
    text_encoder: Annotated[
        str | None, typer.Option(help="The encoder of texts, as a collection file names it.")
    ] = None,
    image_encoder: Annotated[
        str | None, typer.Option(help="The encoder of images, as a collection file names it.")
    ] = None,
    image_weights: Annotated[
        str | None, typer.Option(help="Its weights, where it is a network.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at data and write a collection file for it, which runs as it is."""
    from commonspace.pipeline.init.draft import EncoderWishes
    from commonspace.pipeline.init.init import init_collection

    wishes = EncoderWishes(text=text_encoder, image=image_encoder, image_weights=image_weights)
    written = init_collection(path, name, wishes)
    print_result(_answer(written), as_json, _show)


def find_collection_of(name: str) -> Collection:
    """The collection of that name or file; for a path with data, that of its collection file.

    Where data has none, one is written, as `init` does; standard error says so.

    Raises:
        UserMistake: there is neither.
    """
    from commonspace.pipeline.config.files import declared_name, find_collection
    from commonspace.pipeline.source.files import has_wildcard

    is_data = not name.endswith(".toml") and (Path(name).exists() or has_wildcard(name))
    if not is_data or name in {declared_name(path) for path in _known_files()}:
        return find_collection(name)
    from commonspace.pipeline.init.init import find_or_init

    written = find_or_init(name)
    file, collection = written.collection.path, written.collection.name
    if not written.is_new:
        log(f"this is the source of collection {collection}: {file}")
        return written.collection
    log(f"wrote {file}, as `commonspace init` does")
    for line in written.seen:
        log(f"  saw: {line}")
    for line in written.doubts:
        log(f"  NOT SURE: {line}")
    log(f"next time: commonspace run {collection}")
    return written.collection


def _known_files() -> list[Path]:
    from commonspace.pipeline.config.files import collection_files

    return collection_files() if collections_folder().is_dir() else []


def _answer(written: Written) -> dict[str, Any]:
    return {
        "collection": written.collection.name,
        "file": str(written.collection.path),
        "spaces": [space.name for space in written.collection.space],
        "seen": list(written.seen),
        "not_sure": list(written.doubts),
    }


def _show(answer: dict[str, Any]) -> None:
    name = answer["collection"]
    lines = [f"wrote {answer['file']}", "", "It saw:", *(f"  {line}" for line in answer["seen"])]
    if answer["not_sure"]:
        lines += ["", "It is NOT SURE of:", *(f"  {line}" for line in answer["not_sure"])]
    lines += ["", "Next:", f"  commonspace plan {name}", f"  commonspace run {name}"]
    query = {"text": '"…"', "image": "--image PHOTO"}
    lines += [f"  commonspace search {name}/{space} {query[space]}" for space in answer["spaces"]]
    for line in lines:
        tables.console.print(line, highlight=False, markup=False, soft_wrap=True)
