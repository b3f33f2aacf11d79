"""The verbs of a release's life: releases, promote, rollback, pin, retain, retire, changes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from commonspace.pipeline.cli import release_tables as tables
from commonspace.pipeline.cli.environment import open_warehouse, readable_collections
from commonspace.pipeline.cli.options import AnyNameArgument, JsonOption, SpaceArgument
from commonspace.pipeline.cli.output import log, print_result
from commonspace.pipeline.contract.layout import retirement_key, spec_key
from commonspace.pipeline.errors import UserMistake

if TYPE_CHECKING:
    from commonspace.pipeline.contract.name import SpaceName
    from commonspace.pipeline.publish.manual import PromotionResult

app = typer.Typer()

NumberArgument = Annotated[int, typer.Argument(min=1, help="The number of a release.")]
OptionalNumber = Annotated[int | None, typer.Argument(min=1, help="The number of a release.")]
ReasonOption = Annotated[str, typer.Option(help="Why; shown wherever people ask.")]


@app.command()
def releases(name: SpaceArgument, as_json: JsonOption = False) -> None:
    """List the releases of a space: candidate, current, retired, superseded or damaged."""
    from commonspace.pipeline.release.history import list_releases
    from commonspace.pipeline.release.pointer import load_current

    space, store = _resolve(name), open_warehouse()
    listed = [release.to_json() for release in list_releases(store, space)]
    pointer = load_current(store, space)
    held = pointer.hold_details if pointer else None
    value = {"space": str(space), "held": held, "releases": listed}
    print_result(value, as_json, tables.releases)
    problems = [release["problem"] for release in listed if release["problem"]]
    for problem in problems:
        log(problem)
    if problems:
        raise typer.Exit(1)


@app.command()
def promote(
    name: SpaceArgument, number: OptionalNumber = None, as_json: JsonOption = False
) -> None:
    """Serve a candidate, by default the newest; lifts the hold of a rollback."""
    from commonspace.pipeline.publish.manual import promote_by_hand

    space = _resolve(name)
    _print_promotion(space, promote_by_hand(open_warehouse(), space, number), as_json)


@app.command()
def rollback(
    name: SpaceArgument,
    number: OptionalNumber = None,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Serve an older release again, by default the previous one, and hold the space there."""
    from commonspace.pipeline.publish.manual import roll_back

    space = _resolve(name)
    _print_promotion(space, roll_back(open_warehouse(), space, number, reason), as_json)
    log(f"runs only make candidates until `commonspace promote {space} [RELEASE]` lifts the hold")
    _log_weak_index(space)


@app.command()
def pin(
    name: SpaceArgument,
    number: NumberArgument,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Keep a release: `retain` never removes it."""
    from commonspace.pipeline.release.markers.pins import pin_release

    space = _resolve(name)
    placed = pin_release(open_warehouse(), space, number, reason)
    value = {
        "space": str(space),
        "release": number,
        "reason": placed.reason,
        "at": placed.pinned_at,
    }
    print_result(value, as_json, tables.pinned)


@app.command()
def unpin(name: SpaceArgument, number: NumberArgument, as_json: JsonOption = False) -> None:
    """Let `retain` remove a pinned release again."""
    from commonspace.pipeline.release.markers.pins import unpin_release

    space = _resolve(name)
    unpin_release(open_warehouse(), space, number)
    print_result({"space": str(space), "release": number}, as_json, tables.unpinned)


@app.command()
def retain(
    name: AnyNameArgument = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="How many releases to keep; 1: none to roll back to.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only list what would be removed.")] = False,
    retired: Annotated[
        bool, typer.Option("--retired", help="Remove retired versions of spaces entirely.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove old releases; the last ones, pinned ones and the current one stay."""
    from commonspace.pipeline.maintenance.retain_all import retain_all

    answers = retain_all(
        open_warehouse(),
        readable_collections(),
        name,
        keep=keep,
        retired=retired,
        dry_run=dry_run,
    )
    print_result(answers, as_json, tables.retained)
    for answer in answers:
        if "error" in answer:
            item = answer["item"] or answer["space"]
            log(f"{answer['space']} failed: {item}: {answer['what']}\n  {answer['do']}")
        elif answer["left_out"]:
            log(f"{answer['space']} is left out: {answer['left_out']}")
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


@app.command()
def retire(
    name: SpaceArgument,
    reason: ReasonOption = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the retirement back.")] = False,
    as_json: JsonOption = False,
) -> None:
    """End a version of a space: readers are warned, and runs of it are refused."""
    from commonspace.pipeline.release.markers.retirement import retire_space, revive_space

    space, store = _resolve(name), open_warehouse()
    if name != str(space):
        raise UserMistake("retire takes a version of a space", item=name, do=f"Write {space}.")
    if store.read(spec_key(space)) is None and store.read(retirement_key(space)) is None:
        raise UserMistake("was never published", item=name)
    if undo:
        revive_space(store, space)
    retirement = None if undo else str(retire_space(store, space, reason))
    print_result({"space": name, "retired": retirement}, as_json, tables.retired)


@app.command()
def changes(
    name: SpaceArgument,
    since: Annotated[int, typer.Option(min=1, help="Compare with this release.")],
    until: Annotated[
        int | None, typer.Option(min=1, help="The later release; the served one by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the ids that were added, changed and removed between two releases."""
    from commonspace.pipeline.read.space import open_space

    space = open_space(name)
    space = space if until is None else space.at(until)
    difference = space.changes(since)
    kinds = {
        "added": difference.added,
        "changed": difference.changed,
        "removed": difference.removed,
    }
    ids = {kind: rows["id"].to_pylist() for kind, rows in kinds.items()}
    value = {"space": space.name, "since": since, "until": difference.until, **ids}
    print_result(value, as_json, tables.changes)


def _print_promotion(space: SpaceName, result: PromotionResult, as_json: bool) -> None:
    value = {
        "space": str(space),
        "release": result.release,
        "before": result.before,
        "moved": result.moved,
        "held": asdict(result.hold) if result.hold else None,
        "lifted": asdict(result.lifted) if result.lifted else None,
    }
    print_result(value, as_json, tables.promotion)


def _log_weak_index(space: SpaceName) -> None:
    """Say so where searches compare every row because the vector index finds too little."""
    from commonspace.pipeline.release.pointer import load_current

    pointer = load_current(open_warehouse(), space)
    vector = pointer.indexes.vector if pointer and pointer.indexes else None
    if vector is not None and vector.is_weak:
        log(
            f"the vector index finds {vector.recall:.1%} of the nearest rows, and its limit is "
            f"{vector.limit:.1%}: searches compare every row instead"
        )


def _resolve(name: str) -> SpaceName:
    from commonspace.pipeline.read.space_versions import resolve_space_name

    return resolve_space_name(open_warehouse(), name)
