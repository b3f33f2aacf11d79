"""The command line: `commonspace VERB …`.

Tables for people, one JSON document on standard output with `--json`; progress and messages
go to standard error. Exit code 0: done; 1: a gate or a contract refused, or something broke;
2: the user's mistake.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from encoders.errors import CommonspaceError
from pipeline import tables
from pipeline.collection_files import (
    collection_files,
    collections_folder,
    find_collection,
    load_collection,
    warehouse_address,
)
from pipeline.config import Collection
from pipeline.errors import UserMistake, near
from pipeline.records import EVERYTHING, Scope

app = typer.Typer(
    help="Text and image embeddings, published as tables that other teams can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

BENCHMARKS = ("encode",)

CollectionArgument = Annotated[str, typer.Argument(help="A collection's name, or its TOML file.")]
SpaceArgument = Annotated[str, typer.Argument(help="collection/space or collection/space/vN.")]
SpaceOption = Annotated[list[str] | None, typer.Option("--space", help="Only this space.")]
PartitionOption = Annotated[str | None, typer.Option(help="Only this partition of the source.")]
IdsOption = Annotated[Path | None, typer.Option(help="Only the ids in this file, one a line.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command()
def plan(
    collection: CollectionArgument,
    space: SpaceOption = None,
    partition: PartitionOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would do and cost; leaves nothing behind."""
    from pipeline.run import plan_collection

    found = _only(find_collection(collection), space)
    run = _run(found, Scope(partition=partition))
    plans = plan_collection(run, list(found.space))
    _answer(plans, as_json, tables.plans)


@app.command()
def run(
    collection: CollectionArgument,
    space: SpaceOption = None,
    partition: PartitionOption = None,
    ids: IdsOption = None,
    only_rejects: Annotated[bool, typer.Option(help="Try again what was rejected.")] = False,
    dry_run: Annotated[bool, typer.Option(help="The same as `plan`.")] = False,
    promote: Annotated[bool, typer.Option(help="Let readers see the new release.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Pull, plan, encode, validate, publish and promote: the straight line."""
    from pipeline.run import plan_collection, rejected_ids, run_collection

    if sum([partition is not None, ids is not None, only_rejects]) > 1:
        raise UserMistake("--partition, --ids and --only-rejects exclude each other")
    found = _only(find_collection(collection), space)
    spaces = list(found.space)
    scope = Scope(partition=partition)
    if ids:
        scope = Scope(ids=_read_ids(ids))
    if only_rejects:
        scope = rejected_ids(_store(), found, spaces)
        if not scope.ids:
            _tell("there are no rejects with an id: nothing to try again")
            _answer([], as_json, tables.reports)
            return
    work = _run(found, scope, retry_rejects=only_rejects)
    if dry_run:
        _answer(plan_collection(work, spaces), as_json, tables.plans)
        return
    reports = run_collection(work, spaces, promote=promote, tell=_tell)
    _answer(reports, as_json, tables.reports)
    refused = [report for report in reports if "error" in report]
    for report in refused:
        sys.stderr.write(f"commonspace: {report['what']}\n  {report['do']}\n")
    if refused:
        raise typer.Exit(1)


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="collection, collection/space or …/vN.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Collections, spaces and releases: what exists, whose it is, how fresh and how whole."""
    from pipeline.catalogue import catalogue

    found = catalogue(_store(), _whole_files(), name)
    _answer(found, as_json, tables.catalogue)
    if not found:
        _tell(f"no collection files in {collections_folder()}, no releases in {_store().root}")
        _tell("COMMONSPACE_COLLECTIONS and COMMONSPACE_WAREHOUSE say where to look")


@app.command()
def search(
    name: SpaceArgument,
    text: Annotated[str | None, typer.Argument(help="Near this text.")] = None,
    image: Annotated[Path | None, typer.Option(help="Near this image.")] = None,
    item: Annotated[str | None, typer.Option("--id", help="Near this item.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    where: Annotated[str | None, typer.Option(help="A SQL condition on the columns.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The nearest items, nearest first, by cosine similarity."""
    from pipeline.read import open_space

    space = open_space(name)
    if item is None:
        _tell(f"loading {space.spec.label} to encode what is searched for")
    found = space.search(text, image=image, id=item, k=k, where=where)
    answer = {**_head(space), "hits": found.to_pylist()}
    _answer(answer, as_json, tables.hits)


@app.command()
def get(name: SpaceArgument, ids: list[str], as_json: JsonOption = False) -> None:
    """The rows of some ids, in their order."""
    from pipeline.read import open_space

    space = open_space(name)
    _answer({**_head(space), "rows": space.get(ids).to_pylist()}, as_json, tables.rows)


@app.command()
def files(name: SpaceArgument, as_json: JsonOption = False) -> None:
    """The plain Parquet files of the current release."""
    from pipeline.read import open_space

    space = open_space(name)
    _answer({**_head(space), "files": space.files()}, as_json, tables.files)


@app.command()
def rejects(name: SpaceArgument, as_json: JsonOption = False) -> None:
    """What could not be embedded, why, and whether trying again can help."""
    from pipeline.read import open_space

    space = open_space(name)
    _answer({**_head(space), "rejects": space.rejects.to_pylist()}, as_json, tables.rejects)


@app.command()
def verify(
    name: SpaceArgument,
    repair: Annotated[bool, typer.Option(help="Rebuild the LanceDB table.")] = False,
    canary: Annotated[bool, typer.Option("--canary", help="Load the encoder and try it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check manifest, checksums, contract, vectors, and that LanceDB holds the same rows."""
    from pipeline.verify import verify_space

    answer = verify_space(_store(), name, repair=repair, canary=canary)
    _answer(answer, as_json, tables.verification)
    if not answer["ok"]:
        raise typer.Exit(1)


@app.command()
def quantise(
    collection: CollectionArgument,
    to: Annotated[Path, typer.Option(help="A new folder for the int8 model.")],
    space: Annotated[str, typer.Option(help="The space whose encoder and items to take.")],
    as_json: JsonOption = False,
) -> None:
    """An int8 model of a space's encoder: faster on a CPU, other vectors, a new version."""
    from pipeline.quantise import quantise_space

    found = find_collection(collection)
    answer = quantise_space(found, found.find_space(*_versioned(space)), to)
    _answer(answer, as_json, tables.quantised)
    _tell(f"use it in a version of its own: encoder = {answer['folder']!r}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo"),
    photos: Annotated[Path | None, typer.Option(help="Your own photos.", envvar="PHOTOS")] = None,
    as_json: JsonOption = False,
) -> None:
    """Real texts and photos through Airflow into searchable tables, end to end."""
    from pipeline.demo import run_demo

    if as_json:
        tables.console = Console(stderr=True)
    reports = run_demo(folder, photos)
    if as_json:
        _answer(reports, as_json, tables.reports)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="encode; its own options follow.")],
) -> None:
    """Measure against what people would use instead: `bench encode text`, `… image`."""
    script = Path(__file__).parents[1] / "benchmarks" / f"{what}.py"
    if what not in BENCHMARKS or not script.is_file():
        raise UserMistake(
            f"there is no benchmark {what!r}" + near(what, BENCHMARKS),
            do="Benchmarks stand in the source repository, in benchmarks/; run it from there.",
        )
    done = subprocess.run([sys.executable, str(script), *context.args], check=False)
    raise typer.Exit(done.returncode)


@app.command(hidden=True)
def stage(
    name: str,
    collection: str,
    run_id: Annotated[str, typer.Option("--run")],
    space: Annotated[str | None, typer.Option()] = None,
    partition: PartitionOption = None,
    shard: Annotated[list[int] | None, typer.Option()] = None,
    as_json: JsonOption = True,
) -> None:
    """One stage of a run, in this process: what a task of the DAG executes."""
    from pipeline.tasks import run_stage

    found = find_collection(collection)
    answer = run_stage(name, found, _store(), run_id, space, partition, shard or [])
    _answer(answer, as_json, print)


def main() -> None:
    """Entry point: our own errors become one message and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot write, it escapes
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except CommonspaceError as error:
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps(error.to_json()) + "\n")
        sys.stderr.write(f"commonspace: {error}\n")
        if error.retry:
            sys.stderr.write("  Trying again may help.\n")
        sys.exit(1 if error.retry else error.exit_code)  # what may pass is nobody's mistake
    except KeyboardInterrupt:
        sys.stderr.write("commonspace: interrupted; finished shards are kept for the next run\n")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _answer(value: Any, as_json: bool, render: Any) -> None:
    if as_json:
        sys.stdout.write(json.dumps(value, default=str, ensure_ascii=False) + "\n")
    else:
        render(value)


def _tell(message: str) -> None:
    sys.stderr.write(f"commonspace | {message}\n")


def _store() -> Any:
    from pipeline.store import open_store

    return open_store(warehouse_address())


def _run(collection: Collection, scope: Scope = EVERYTHING, *, retry_rejects: bool = False) -> Any:
    from pipeline.run import new_run_id
    from pipeline.workspace import Run

    return Run(new_run_id(), collection, _store(), scope, retry_rejects)


def _only(collection: Collection, names: list[str] | None) -> Collection:
    """The collection with only the named spaces: the others are not even read for."""
    if not names:
        return collection
    chosen = tuple(collection.find_space(*_versioned(name)) for name in names)
    return collection.model_copy(update={"space": chosen})


def _versioned(name: str) -> tuple[str, int | None]:
    space, _, version = name.partition("/v")
    return space, int(version) if version.isdigit() else None


def _read_ids(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserMistake(f"the file of ids cannot be read: {error}", item=str(path)) from error
    return frozenset(line.removesuffix("\r") for line in lines if line.strip())


def _whole_files() -> list[Collection]:
    """The collection files that can be read; what is wrong with the others is said."""
    found = []
    for path in collection_files() if collections_folder().is_dir() else ():
        try:
            found.append(load_collection(path))
        except UserMistake as error:
            _tell(str(error))
    return found


def _head(space: Any) -> dict[str, Any]:
    return {
        "space": space.name,
        "release": space.release.number,
        "encoder": space.spec.label,
        "trained": space.spec.trained,
    }


if __name__ == "__main__":
    main()
