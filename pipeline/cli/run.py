"""The verbs that make releases: plan, run; and quantise, demo, bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from commonspace.pipeline.cli import run_tables, tables
from commonspace.pipeline.cli.environment import CHECKOUT, find_collection, open_warehouse
from commonspace.pipeline.cli.init import find_collection_of
from commonspace.pipeline.cli.options import (
    CollectionArgument,
    DataArgument,
    DeleteMissingOption,
    ForceOption,
    IdsOption,
    JsonOption,
    PartitionOption,
    RejectsOption,
    SpaceOption,
)
from commonspace.pipeline.cli.output import exit_if_refused, log, print_result
from commonspace.pipeline.config.ids import read_ids
from commonspace.pipeline.errors import UserMistake, did_you_mean

if TYPE_CHECKING:
    from commonspace.pipeline.config.collection import Collection
    from commonspace.pipeline.source.records import Scope
    from commonspace.pipeline.workspace.work import Run

app = typer.Typer()

BENCHMARKS = ("encode", "changes", "index", "start")


@app.command()
def plan(
    collection: CollectionArgument,
    space: SpaceOption = None,
    partition: PartitionOption = None,
    force: ForceOption = False,
    delete_missing: DeleteMissingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do and cost; writes nothing that stays."""
    from commonspace.pipeline.run.run import plan_collection

    chosen = _with_spaces(find_collection(collection), space)
    run = _new_run(chosen, _scope(chosen, partition), force=force, delete_missing=delete_missing)
    plans = plan_collection(run, list(chosen.space))
    print_result(plans, as_json, run_tables.plans)
    exit_if_refused(plans)


@app.command()
def run(
    collection: DataArgument,
    space: SpaceOption = None,
    partition: PartitionOption = None,
    ids: IdsOption = None,
    only_rejects: RejectsOption = False,
    force: ForceOption = False,
    delete_missing: DeleteMissingOption = False,
    dry_run: Annotated[
        bool | None,
        typer.Option(
            "--dry-run/--no-dry-run",
            help="Only plan, as the verb `plan` does; the default with --force.",
        ),
    ] = None,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            help="Whether readers see the new release; by default, as the collection file says.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pull, plan, encode, validate, publish and promote a collection."""
    from commonspace.pipeline.run.run import plan_collection, rejected_ids, run_collection

    chosen = _with_spaces(find_collection_of(collection), space)
    scope = _scope(chosen, partition, ids, only_rejects=only_rejects)
    spaces = list(chosen.space)
    if only_rejects:
        scope = rejected_ids(open_warehouse(), chosen, spaces)
        if not scope.ids:
            log("no reject has an id: there is nothing to try again")
            print_result([], as_json, run_tables.reports)
            return
    new_run = _new_run(
        chosen, scope, retry_rejects=only_rejects, force=force, delete_missing=delete_missing
    )
    if force if dry_run is None else dry_run:
        plans = plan_collection(new_run, spaces)
        print_result(plans, as_json, run_tables.plans)
        if force:
            log("nothing was encoded: --force is a dry run unless --no-dry-run is given")
        exit_if_refused(plans)
        return
    reports = run_collection(new_run, spaces, promote=promote, log=log)
    print_result(reports, as_json, run_tables.reports)
    exit_if_refused(reports)


@app.command()
def quantise(
    collection: CollectionArgument,
    to: Annotated[
        Path, typer.Option(help="The folder to write the int8 model to; must not exist.")
    ],
    space: Annotated[
        str,
        typer.Option(
            help="The space whose encoder is quantised, and whose items it is measured on."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Make an int8 model of a space's encoder: faster on a CPU, for a new version of the space."""
    from commonspace.pipeline.encode.quantise import quantise_space

    declared = find_collection(collection)
    comparison = quantise_space(declared, declared.resolve_space(space), to)
    print_result(comparison, as_json, run_tables.quantised)
    log(f"use it in a new version of the space: encoder = {comparison['folder']!r}")


@app.command()
def demo(
    folder: Annotated[
        Path, typer.Option(help="The folder that holds all files of the demo.")
    ] = Path("demo"),
    photos: Annotated[
        Path | None, typer.Option(help="A folder of your own photos.", envvar="PHOTOS")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take real texts and photos through Airflow into searchable tables."""
    from commonspace.pipeline.cli.demo.demo import run_demo

    if as_json:
        tables.console = Console(stderr=True)
    reports = run_demo(folder, photos)
    if as_json:
        print_result(reports, as_json, run_tables.reports)


@app.command(  # the options after the name belong to the benchmark, --help too
    context_settings={
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
    }
)
def bench(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="encode, changes or index; then the benchmark's own options.")
    ],
) -> None:
    """Compare with what people would use instead: `bench encode text`, for example."""
    script = CHECKOUT / "benchmarks" / f"{what}.py"
    if what not in BENCHMARKS or not script.is_file():
        raise UserMistake(
            f"there is no benchmark {what!r}" + did_you_mean(what, BENCHMARKS),
            do="The benchmarks are in a checkout of the repository; run the command from there.",
        )
    process = subprocess.run([sys.executable, str(script), *context.args], check=False)
    raise typer.Exit(process.returncode)


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
    delete_missing: DeleteMissingOption = False,
    shard: Annotated[list[int] | None, typer.Option()] = None,
    as_json: JsonOption = True,
) -> None:
    """Execute one stage of a run in this process, as a task of the DAG does."""
    from commonspace.pipeline.run.process import run_stage

    declared = find_collection(collection)
    scope = _scope(declared, partition, ids, only_rejects=only_rejects)
    if name == "pull":  # for all spaces that are named; every other stage is of one space
        declared, space = _with_spaces(declared, space), None
    answer = run_stage(
        name,
        declared,
        open_warehouse(),
        run_id,
        space=space[0] if space and len(space) == 1 else None,
        scope=scope,
        shards=shard or [],
        only_rejects=only_rejects,
        force=force,
        delete_missing=delete_missing,
    )
    print_result(answer, as_json, print)


def _scope(
    collection: Collection,
    partition: str | None,
    ids: Path | None = None,
    *,
    only_rejects: bool = False,
) -> Scope:
    if sum([partition is not None, ids is not None, only_rejects]) > 1:
        raise UserMistake("--partition, --ids and --only-rejects exclude each other")
    if partition is not None:
        collection.check_partition(partition)
    from commonspace.pipeline.source.records import Scope

    return Scope(ids=read_ids(ids)) if ids else Scope(partition=partition)


def _new_run(collection: Collection, scope: Scope, **options: bool) -> Run:
    """A run into the warehouse of the environment; `options` are those of `Run`."""
    from commonspace.pipeline.run.run import new_run_id
    from commonspace.pipeline.workspace.work import Run

    return Run(new_run_id(), collection, open_warehouse(), scope, **options)


def _with_spaces(collection: Collection, names: list[str] | None) -> Collection:
    """The collection with only the named spaces, so that nothing is read for the others."""
    if not names:
        return collection
    chosen = dict.fromkeys(collection.resolve_space(name) for name in names)
    return collection.model_copy(update={"space": tuple(chosen)})
