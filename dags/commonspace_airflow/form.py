"""What people see of a collection's DAG: its page, and the form that triggers a run."""

from __future__ import annotations

from airflow.sdk import Param

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import space_key

PAGE = """
### {name}

{description}

* Owner: **{owner}**
* Source: `{uri}`
* File: `{path}`

| space | encoder | content |
|---|---|---|
{spaces}

{runs} Readers see nothing new before every gate has passed; a refused run leaves the last release
in place.
"""

RUNS_OF_EVERYTHING = """\
Each run pulls the source, encodes what is new, and promotes a release where something changed.
Trigger it with a `partition` to process only that one."""

RUNS_OF_PARTITIONS = """\
Each run processes one {period} of the source and leaves all others as they are; run again, it
replaces that {period}. A {period} without files is skipped if nothing of it is published. To
process many: `airflow backfill create --dag-id {name} --from-date … --to-date …
--max-active-runs 3`."""


def dag_page(collection: Collection) -> str:
    """The DAG's page, in Markdown."""
    spaces = "\n".join(
        f"| {space_key(space)} | `{_cell(space.encoder)}` "
        f"| {_cell(space.image or ', '.join(space.fields))} |"
        for space in collection.space
    )
    section = collection.collection
    runs = RUNS_OF_PARTITIONS if section.partitions else RUNS_OF_EVERYTHING
    return PAGE.format(
        name=section.name,
        description=section.description,
        owner=section.owner,
        uri=collection.source_uri,
        path=collection.path,
        spaces=spaces,
        runs=runs.format(period=section.partitions, name=section.name),
    )


def dag_params(collection: Collection) -> dict[str, Param]:
    """The typed params of a run. The form requires none of them, because each allows "null".

    `partition`, `ids` and `only_rejects` exclude each other. `force` is one param with three
    values, because a forced run is a dry run by default, and a switch cannot be left undecided.
    Other runs are no dry run by default: unchanged content costs nothing, and schedules and
    backfills start from the same defaults.
    """
    names = [space_key(space) for space in collection.space]
    period = collection.collection.partitions
    return {
        "partition": Param(
            None,
            type=["null", "string"],
            description=f"Only this {period or 'partition'} of the source.",
        ),
        "ids": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "minLength": 1},
            description="Only these items, one id per line.",
        ),
        "only_rejects": Param(
            False,
            type=["null", "boolean"],
            description="Only the items that the current releases list as rejects.",
        ),
        "spaces": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "enum": names},
            examples=names,
            description="Only these spaces; all if none is chosen.",
        ),
        "force": Param(
            None,
            type=["null", "string"],
            enum=[None, "plan", "encode"],
            values_display={
                "null": "no",
                "plan": "plan: show what it would cost",
                "encode": "encode: do it",
            },
            description="Encode again even what is published; a dry run unless you choose encode.",
        ),
        "delete_missing": Param(
            False,
            type=["null", "boolean"],
            description="Delete rows whose file is gone, empty, cut or unreadable; else they stay.",
        ),
        "dry_run": Param(
            False,
            type=["null", "boolean"],
            description="Only plan. What would be done, and at what cost, is in the log of each "
            "plan task and in its XComs.",
        ),
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
