"""The verbs of a release's life: promoted, rolled back, pinned, compared, removed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from commonspace.pipeline.cli import release_tables as tables
from commonspace.pipeline.cli.common import (
    JsonOption,
    SpaceArgument,
    log,
    print_result,
    warehouse,
    whole_files,
)
from commonspace.pipeline.contract.layout import retirement_key, spec_key
from commonspace.pipeline.errors import UserMistake

app = typer.Typer()

NumberArgument = Annotated[int, typer.Argument(min=1, help="A release.")]
MaybeNumber = Annotated[int | None, typer.Argument(min=1, help="A release.")]
ReasonOption = Annotated[str, typer.Option(help="Why; shown wherever it matters.")]


@app.command()
def releases(name: SpaceArgument, as_json: JsonOption = False) -> None:
    """Every release of a space: candidate, current, retired, superseded or damaged."""
    from commonspace.pipeline.release.history import list_releases
    from commonspace.pipeline.release.pointer import load_current

    full, store = _full(name), warehouse()
    found = [one.to_json() for one in list_releases(store, full)]
    pointer = load_current(store, full)
    held = pointer.held if pointer else None
    print_result({"space": str(full), "held": held, "releases": found}, as_json, tables.releases)
    problems = [one["problem"] for one in found if one["problem"]]
    for problem in problems:
        log(problem)
    if problems:
        raise typer.Exit(1)


@app.command()
def promote(name: SpaceArgument, number: MaybeNumber = None, as_json: JsonOption = False) -> None:
    """Let readers see a candidate: this one, or the newest; lifts the hold of a rollback."""
    from commonspace.pipeline.publish.manual import promote_by_hand

    full = _full(name)
    _print_result(full, promote_by_hand(warehouse(), full, number), as_json)


@app.command()
def rollback(
    name: SpaceArgument,
    number: MaybeNumber = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Serve an older release again, this one or the one before the current, and stay there."""
    from commonspace.pipeline.publish.manual import roll_back

    full = _full(name)
    _print_result(full, roll_back(warehouse(), full, number, reason), as_json)
    log(f"runs leave candidates until `commonspace promote {full} [RELEASE]` lifts the hold")
    _tell_if_exact(full)


@app.command()
def pin(
    name: SpaceArgument,
    number: NumberArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Keep a release, whatever `retain` is told."""
    from commonspace.pipeline.release.pins import pin_release

    full = _full(name)
    made = pin_release(warehouse(), full, number, reason)
    value = {"space": str(full), "release": number, "reason": made.reason, "at": made.pinned_at}
    print_result(value, as_json, tables.pinned)


@app.command()
def unpin(name: SpaceArgument, number: NumberArgument, as_json: JsonOption = False) -> None:
    """Let `retain` remove a pinned release again."""
    from commonspace.pipeline.release.pins import unpin_release

    full = _full(name)
    unpin_release(warehouse(), full, number)
    print_result({"space": str(full), "release": number}, as_json, tables.unpinned)


@app.command()
def retain(
    name: Annotated[
        str | None, typer.Argument(help="collection, collection/space or …/vN; all by default.")
    ] = None,
    keep: Annotated[int | None, typer.Option(min=1, help="How many releases to keep.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be removed.")] = False,
    retired: Annotated[
        bool, typer.Option("--retired", help="Remove retired versions of spaces altogether.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old releases, but for the last ones, pinned ones and the current one."""
    from commonspace.pipeline.maintenance.retain_all import retain_all

    found = retain_all(
        warehouse(), whole_files(), name, keep=keep, retired=retired, dry_run=dry_run
    )
    print_result(found, as_json, tables.retained)
    for one in found:
        if "error" in one:
            item = one["item"] or one["space"]
            log(f"{one['space']} failed: {item}: {one['what']}\n  {one['do']}")
        elif one["left_out"]:
            log(f"{one['space']} is left out: {one['left_out']}")
    if any("error" in one for one in found):
        raise typer.Exit(1)


@app.command()
def retire(
    name: SpaceArgument,
    reason: ReasonOption = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the retirement back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say that a version of a space is not filled again: readers are warned, runs refused."""
    from commonspace.pipeline.release.retirement import retire_space, revive_space

    full, store = _full(name), warehouse()
    if name != str(full):
        raise UserMistake("name the version that is retired", item=name, do=f"For example {full}.")
    if store.read(spec_key(full)) is None and store.read(retirement_key(full)) is None:
        raise UserMistake("was never published", item=name)
    if undo:
        revive_space(store, full)
        print_result({"space": name, "retired": None}, as_json, tables.retired)
    else:
        print_result(
            {"space": name, "retired": str(retire_space(store, full, reason))}, as_json, tables.retired
        )


@app.command()
def changes(
    name: SpaceArgument,
    since: Annotated[int, typer.Option(min=1, help="From this release.")],
    until: Annotated[
        int | None, typer.Option(min=1, help="To this one; the served one by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What was added, changed and removed from one release to another, by id."""
    from commonspace.pipeline.read.space import open_space

    space = open_space(name)
    space = space if until is None else space.at(until)
    found = space.changes(since)
    kinds = {"added": found.added, "changed": found.changed, "removed": found.removed}
    ids = {kind: rows["id"].to_pylist() for kind, rows in kinds.items()}
    value = {"space": space.name, "since": since, "until": found.until, **ids}
    print_result(value, as_json, tables.changes)


def _print_result(full: Any, done: Any, as_json: bool) -> None:
    value = {"space": str(full), "release": done.release, "before": done.before}
    holds = {"held": done.hold, "lifted": done.lifted}
    told = {key: asdict(hold) if hold else None for key, hold in holds.items()}
    print_result({**value, "moved": done.moved, **told}, as_json, tables.promotion)


def _tell_if_exact(full: Any) -> None:
    from commonspace.pipeline.release.pointer import load_current

    pointer = load_current(warehouse(), full)
    vector = pointer.indices.vector if pointer and pointer.indices else None
    if vector is not None and vector.is_weak:
        log(
            f"the vector index finds {vector.recall:.1%} of what is nearest, {vector.limit:.1%} is "
            "wanted: searches compare every row"
        )


def _full(name: str) -> Any:
    from commonspace.pipeline.read.versions import full_name

    return full_name(warehouse(), name)
