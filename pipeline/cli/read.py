"""The verbs that read: what there is, and whether it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.common import (
    JsonOption,
    SpaceArgument,
    log,
    print_result,
    warehouse,
    whole_files,
)
from commonspace.pipeline.config.files import collections_folder
from commonspace.pipeline.errors import UserMistake

app = typer.Typer()

ReleaseOption = Annotated[int | None, typer.Option(help="This release, not the served one.")]


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="collection, collection/space or …/vN.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Collections, spaces and releases: what exists, whose it is, how fresh and how whole."""
    from commonspace.pipeline.read.catalog import list_spaces

    found = list_spaces(warehouse(), whole_files(), name)
    print_result(found, as_json, tables.catalog)
    problems = [one["problem"] for one in found if one["problem"]]
    for problem in problems:
        log(f"{problem}; `commonspace verify` says what helps")
    if problems:
        raise typer.Exit(1)
    if not found:
        log(f"no collection files in {collections_folder()}, no releases in {warehouse().address}")
        log("COMMONSPACE_COLLECTIONS and COMMONSPACE_WAREHOUSE say where to look")


@app.command()
def search(
    name: SpaceArgument,
    text: Annotated[str | None, typer.Argument(help="Near this text.")] = None,
    image: Annotated[Path | None, typer.Option(help="Near this image.")] = None,
    item: Annotated[str | None, typer.Option("--id", help="Near this item.")] = None,
    words: Annotated[
        str | None, typer.Option(help="With some of these words, in the full-text index.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    where: Annotated[str | None, typer.Option(help="A SQL condition on the columns.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare every row; use no vector index.")
    ] = False,
    release: ReleaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """The nearest items, nearest first, by cosine similarity; or those with some words."""
    if words is not None and (text, image, item, exact) != (None, None, None, False):
        raise UserMistake("--words searches by words alone: leave out what else is searched for")
    space = _opened(name, release)
    if words is not None:
        found = space.search_words(words, k=k, where=where)
    else:
        if item is None and (text is None) != (image is None):  # else it is refused
            log(f"loading {space.spec.label} to encode what is searched for")
        found = space.search(text, image=image, id=item, k=k, where=where, exact=exact)
    print_result({**_head(space), "hits": found.to_pylist()}, as_json, tables.hits)


@app.command()
def get(
    name: SpaceArgument, ids: list[str], release: ReleaseOption = None, as_json: JsonOption = False
) -> None:
    """The rows of some ids, in their order."""
    space = _opened(name, release)
    print_result({**_head(space), "rows": space.get(ids).to_pylist()}, as_json, tables.rows)


@app.command()
def files(name: SpaceArgument, release: ReleaseOption = None, as_json: JsonOption = False) -> None:
    """The plain Parquet files of the current release."""
    space = _opened(name, release)
    print_result({**_head(space), "files": space.files()}, as_json, tables.files)


@app.command()
def rejects(
    name: SpaceArgument, release: ReleaseOption = None, as_json: JsonOption = False
) -> None:
    """What could not be embedded, why, and whether trying again can help."""
    space = _opened(name, release)
    print_result({**_head(space), "rejects": space.rejects.to_pylist()}, as_json, tables.rejects)


@app.command()
def verify(
    name: SpaceArgument,
    repair: Annotated[
        bool, typer.Option(help="Mend a promotion, the LanceDB table, parts.")
    ] = False,
    canary: Annotated[bool, typer.Option("--canary", help="Load the encoder and try it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check manifest, checksums, contract, vectors, and that LanceDB holds the same rows."""
    from commonspace.pipeline.maintenance.verify import verify_space

    checked = verify_space(warehouse(), name, repair=repair, canary=canary)
    print_result(checked, as_json, tables.verification)
    if not checked["ok"]:
        raise typer.Exit(1)


def _opened(name: str, release: int | None) -> Any:
    from commonspace.pipeline.read.space import open_space

    space = open_space(name)
    return space if release is None else space.at(release)


def _head(space: Any) -> dict[str, Any]:
    return {
        "space": space.name,
        "release": space.release.number,
        "encoder": space.spec.label,
        "trained": space.spec.trained,
    }
