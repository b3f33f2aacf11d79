"""What the DAG of a collection says about itself in Airflow's UI."""

from __future__ import annotations

from pipeline.config import Collection

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
