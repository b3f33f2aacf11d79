"""The verbs that make releases: plan, run, and what prepares and measures them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from commonspace.pipeline.cli import run_tables, tables
from commonspace.pipeline.cli.common import (
    CHECKOUT,
    CollectionArgument,
    JsonOption,
    PartitionOption,
    log,
    print_result,
    warehouse,
)
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import find_collection
from commonspace.pipeline.errors import UserMistake, did_you_mean
from commonspace.pipeline.source.records import EVERYTHING, Scope

app = typer.Typer()

BENCHMARKS = ("encode", "changes", "index")

SpaceOption = Annotated[list[str] | None, typer.Option("--space", help="Only this space.")]
RejectsOption = Annotated[bool, typer.Option(help="Try again what was rejected.")]
IdsOption = Annotated[Path | None, typer.Option(help="Only the ids in this file, one a line.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Encode again what is published.")]


@app.command()
def plan(
    collection: CollectionArgument,
    space: SpaceOption = None,
    partition: PartitionOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """What a run would do and cost; leaves nothing behind."""
    from commonspace.pipeline.run.run import plan_collection

    found = _only(find_collection(collection), space)
    run = _run(found, Scope(partition=partition), force=force)
    plans = plan_collection(run, list(found.space))
    print_result(plans, as_json, run_tables.plans)
    _fail_for(plans)


@app.command()
def run(
    collection: CollectionArgument,
    space: SpaceOption = None,
    partition: PartitionOption = None,
    ids: IdsOption = None,
    only_rejects: RejectsOption = False,
    force: ForceOption = False,
    dry_run: Annotated[
        bool | None,
        typer.Option(
            "--dry-run/--no-dry-run", help="The same as `plan`; by default only with --force."
        ),
    ] = None,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            help="Let readers see the new release; as the collection file says by default.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pull, plan, encode, validate, publish and promote: the straight line."""
    from commonspace.pipeline.run.run import plan_collection, rejected_ids, run_collection

    scope = _scope(partition, ids, only_rejects=only_rejects)
    found = _only(find_collection(collection), space)
    spaces = list(found.space)
    if only_rejects:
        scope = rejected_ids(warehouse(), found, spaces)
        if not scope.ids:
            log("there are no rejects with an id: nothing to try again")
            print_result([], as_json, run_tables.reports)
            return
    work = _run(found, scope, retry_rejects=only_rejects, force=force)
    if force if dry_run is None else dry_run:
        plans = plan_collection(work, spaces)
        print_result(plans, as_json, run_tables.plans)
        if force:
            log("nothing was encoded yet: --force is a dry run unless --no-dry-run is given")
        _fail_for(plans)
        return
    reports = run_collection(work, spaces, promote=promote, log=log)
    print_result(reports, as_json, run_tables.reports)
    _fail_for(reports)


@app.command()
def quantise(
    collection: CollectionArgument,
    to: Annotated[Path, typer.Option(help="A new folder for the int8 model.")],
    space: Annotated[str, typer.Option(help="The space whose encoder and items to take.")],
    as_json: JsonOption = False,
) -> None:
    """An int8 model of a space's encoder: faster on a CPU, other vectors, a new version."""
    from commonspace.pipeline.encode.quantise import quantise_space

    found = find_collection(collection)
    made = quantise_space(found, found.resolve_space(space), to)
    print_result(made, as_json, run_tables.quantised)
    log(f"use it in a version of its own: encoder = {made['folder']!r}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path("demo"),
    photos: Annotated[Path | None, typer.Option(help="Your own photos.", envvar="PHOTOS")] = None,
    as_json: JsonOption = False,
) -> None:
    """Real texts and photos through Airflow into searchable tables, end to end."""
    from commonspace.pipeline.cli.demo import run_demo

    if as_json:
        tables.console = Console(stderr=True)
    reports = run_demo(folder, photos)
    if as_json:
        print_result(reports, as_json, run_tables.reports)


@app.command(  # what follows its name is the benchmark's own, --help too
    context_settings={
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
    }
)
def bench(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="encode, changes or index; its own options follow.")],
) -> None:
    """Measure against what people would use instead: `bench encode text`, `… image`."""
    script = CHECKOUT / "benchmarks" / f"{what}.py"
    if what not in BENCHMARKS or not script.is_file():
        raise UserMistake(
            f"there is no benchmark {what!r}" + did_you_mean(what, BENCHMARKS),
            do="Benchmarks stand in the source repository, in benchmarks/; run it from there.",
        )
    done = subprocess.run([sys.executable, str(script), *context.args], check=False)
    raise typer.Exit(done.returncode)


@app.command(hidden=True)
def stage(
    name: str,
    collection: str,
    run_id: Annotated[str, typer.Option("--run")],
    space: SpaceOption = None,
    partition: PartitionOption = None,
    ids: IdsOption = None,
    only_rejects: RejectsOption = False,
    force: ForceOption = False,
    shard: Annotated[list[int] | None, typer.Option()] = None,
    as_json: JsonOption = True,
) -> None:
    """One stage of a run, in this process: what a task of the DAG executes."""
    from commonspace.pipeline.run.process import run_stage

    scope = _scope(partition, ids, only_rejects=only_rejects)
    found = find_collection(collection)
    if name == "pull":  # of the spaces that are named; every other stage is of one
        found, space = _only(found, space), None
    one = space[0] if space and len(space) == 1 else None
    asked = {"only_rejects": only_rejects, "force": force}
    done = run_stage(name, found, warehouse(), run_id, one, scope, shard or [], **asked)
    print_result(done, as_json, print)


def _scope(partition: str | None, ids: Path | None, *, only_rejects: bool) -> Scope:
    if sum([partition is not None, ids is not None, only_rejects]) > 1:
        raise UserMistake("--partition, --ids and --only-rejects exclude each other")
    return Scope(ids=_read_ids(ids)) if ids else Scope(partition=partition)


def _run(collection: Collection, scope: Scope = EVERYTHING, **asked: bool) -> Any:
    from commonspace.pipeline.run.run import new_run_id
    from commonspace.pipeline.workspace.work import Run

    return Run(new_run_id(), collection, warehouse(), scope, **asked)


def _fail_for(answers: Sequence[Mapping[str, Any]]) -> None:
    """Say what each space was refused for, if any was."""
    refused = [one for one in answers if "error" in one]
    for one in refused:
        sys.stderr.write(f"commonspace: {one['what']}\n  {one['do']}\n")
    if refused:
        raise typer.Exit(1)


def _only(collection: Collection, names: list[str] | None) -> Collection:
    """The collection with only the named spaces: the others are not even read for."""
    if not names:
        return collection
    chosen = tuple(collection.resolve_space(name) for name in names)
    return collection.model_copy(update={"space": chosen})


def _read_ids(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserMistake(f"the file of ids cannot be read: {error}", item=str(path)) from error
    return frozenset(line.removesuffix("\r") for line in lines if line.strip())
