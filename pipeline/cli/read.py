"""The verbs that read: show, search, get, files, rejects, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from commonspace.pipeline.cli import tables
from commonspace.pipeline.cli.environment import open_warehouse, readable_collections
from commonspace.pipeline.cli.options import AnyNameArgument, JsonOption, SpaceArgument
from commonspace.pipeline.cli.output import log, print_result
from commonspace.pipeline.config.places import collections_folder
from commonspace.pipeline.errors import UserMistake

if TYPE_CHECKING:
    import pyarrow as pa

    from commonspace.pipeline.read.space import Space

app = typer.Typer()

ReleaseOption = Annotated[int | None, typer.Option(help="This release instead of the served one.")]


@app.command()
def show(
    name: AnyNameArgument = None,
    as_json: JsonOption = False,
) -> None:
    """List collections, spaces and releases: owner, rows, age, and what is damaged."""
    from commonspace.pipeline.read.catalog import list_spaces

    store = open_warehouse()
    spaces = list_spaces(store, readable_collections(), name)
    print_result(spaces, as_json, tables.catalog)
    problems = [space["problem"] for space in spaces if space["problem"]]
    for problem in problems:
        log(f"{problem}; `commonspace verify` says how to repair it")
    if problems:
        raise typer.Exit(1)
    if not spaces:
        log(f"no collection files in {collections_folder()}, no releases in {store.address}")
        log("COMMONSPACE_COLLECTIONS and COMMONSPACE_WAREHOUSE say where to look")


@app.command()
def search(
    name: SpaceArgument,
    text: Annotated[str | None, typer.Argument(help="Find what is near this text.")] = None,
    image: Annotated[Path | None, typer.Option(help="Find what is near this image file.")] = None,
    item: Annotated[str | None, typer.Option("--id", help="Find what is near this item.")] = None,
    words: Annotated[
        str | None, typer.Option(help="Find what has some of these words, by the full-text index.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many rows.")] = 10,
    where: Annotated[str | None, typer.Option(help="A SQL condition on the columns.")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare every row; use no vector index.")
    ] = False,
    release: ReleaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the nearest items by cosine similarity, or those that have some words."""
    if words is not None and (text, image, item, exact) != (None, None, None, False):
        raise UserMistake("--words cannot be combined with a text, --image, --id or --exact")
    space = _open(name, release)
    if words is not None:
        rows = space.search_words(words, k=k, where=where)
    else:
        if item is None and (text is None) != (image is None):  # `search` refuses the other cases
            log(f"loading {space.spec.label} to encode the query")
        rows = space.search(text, image=image, id=item, k=k, where=where, exact=exact)
    print_result({**_heading(space), "hits": _rows(rows)}, as_json, tables.hits)


@app.command()
def get(
    name: SpaceArgument, ids: list[str], release: ReleaseOption = None, as_json: JsonOption = False
) -> None:
    """Print the rows of some ids, in the order given."""
    space = _open(name, release)
    print_result({**_heading(space), "rows": _rows(space.get(ids))}, as_json, tables.rows)


@app.command()
def files(name: SpaceArgument, release: ReleaseOption = None, as_json: JsonOption = False) -> None:
    """List the plain Parquet files of the served release."""
    space = _open(name, release)
    print_result({**_heading(space), "files": space.files()}, as_json, tables.files)


@app.command()
def rejects(
    name: SpaceArgument, release: ReleaseOption = None, as_json: JsonOption = False
) -> None:
    """List the items that could not be embedded, why, and whether trying again may help."""
    space = _open(name, release)
    print_result({**_heading(space), "rejects": _rows(space.rejects)}, as_json, tables.rejects)


@app.command()
def verify(
    name: SpaceArgument,
    repair: Annotated[
        bool,
        typer.Option(help="Repair an interrupted promotion, the LanceDB table and damaged files."),
    ] = False,
    canary: Annotated[
        bool, typer.Option("--canary", help="Load the encoder and compare it with the canary.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check manifest, checksums, contract and vectors, and that LanceDB holds the same rows."""
    from commonspace.pipeline.maintenance.verify import verify_space

    verification = verify_space(open_warehouse(), name, repair=repair, canary=canary)
    print_result(verification.to_json(), as_json, tables.verification)
    if not verification.ok:
        raise typer.Exit(1)


def _open(name: str, release: int | None) -> Space:
    from commonspace.pipeline.read.space import open_space

    space = open_space(name)
    return space if release is None else space.at(release)


def _heading(space: Space) -> dict[str, Any]:
    return {
        "space": space.name,
        "release": space.release.number,
        "encoder": space.spec.label,
        "trained": space.spec.trained,
    }


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    from commonspace.pipeline.contract.arrays import rows_of  # needs Arrow

    return rows_of(table)
