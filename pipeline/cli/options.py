"""The arguments and options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CollectionArgument = Annotated[str, typer.Argument(help="A collection's name, or its TOML file.")]
DataArgument = Annotated[
    str,
    typer.Argument(
        help="A collection's name, or its TOML file; or data without one, as `init` takes it."
    ),
]
SpaceArgument = Annotated[str, typer.Argument(help="collection/space or collection/space/vN.")]
AnyNameArgument = Annotated[
    str | None,
    typer.Argument(help="A collection, collection/space or collection/space/vN; all by default."),
]
PartitionOption = Annotated[str | None, typer.Option(help="Only this partition of the source.")]
SpaceOption = Annotated[
    list[str] | None, typer.Option("--space", help="Only this space; may be given more than once.")
]
RejectsOption = Annotated[
    bool, typer.Option(help="Only the items that the current releases list as rejects.")
]
IdsOption = Annotated[
    Path | None, typer.Option(help="Only the ids in this file, one per line, or a JSON list.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Encode again even what is published.")]
DeleteMissingOption = Annotated[
    bool,
    typer.Option("--delete-missing", help="Delete rows whose file is gone or unreadable, too."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
