"""The trigger form of a collection's DAG."""

from __future__ import annotations

from airflow.sdk import Param

from commonspace.pipeline.config.collection import Collection

PAGE = """
### {name}

{description}

* Owner: **{owner}**
* Source: `{uri}`
* File: `{path}`

| space | encoder | content |
|---|---|---|
{spaces}

{runs} Nothing is visible to readers before every gate has held; a refused run leaves the last
release in place.
"""

WHOLE = """\
Each run pulls the source, encodes what is new, and promotes a release that changed something.
Trigger it with a `partition` to touch only that one."""

PARTITIONED = """\
Each run takes one {period} of the source and touches no other; a {period} that is run again
replaces itself. A {period} without files, of which nothing is published, is skipped. To take many:
`airflow backfill create --dag-id {name} --from-date … --to-date … --max-active-runs 3`."""


def page_of(collection: Collection) -> str:
    """The DAG's page, in Markdown."""
    spaces = "\n".join(
        f"| {s.name}/v{s.version} | `{_cell(s.encoder)}` | {_cell(s.image or ', '.join(s.fields))}"
        " |"
        for s in collection.space
    )
    described = collection.collection
    runs = PARTITIONED if described.partitions else WHOLE
    return PAGE.format(
        name=described.name,
        description=described.description,
        owner=described.owner,
        uri=collection.source_uri,
        path=collection.path,
        spaces=spaces,
        runs=runs.format(period=described.partitions, name=described.name),
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def params_of(collection: Collection) -> dict[str, Param]:
    """Typed params, none of which the form asks for (that is what "null" tells it): `partition`,
    `ids` and `only_rejects` exclude each other.

    Only what is forced is a dry run unless somebody says otherwise, in one param: a switch for
    it could not be left undecided. Else unchanged content costs nothing, and schedules and
    backfills start from the same defaults.
    """
    names = [f"{space.name}/v{space.version}" for space in collection.space]
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
            description="Only these items, one id a line.",
        ),
        "only_rejects": Param(
            False,
            type=["null", "boolean"],
            description="Only what the current releases hold as rejects.",
        ),
        "spaces": Param(
            [],
            type=["null", "array"],
            items={"type": "string", "enum": names},
            examples=names,
            description="Only these spaces; all where none is chosen.",
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
            description="Encode again what is published; a dry run unless you say encode.",
        ),
        "dry_run": Param(
            False,
            type=["null", "boolean"],
            description="Only plan: what would be done and cost, in the log of each plan task "
            "and its XComs.",
        ),
    }
