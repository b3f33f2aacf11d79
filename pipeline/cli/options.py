"""The arguments and options that several verbs take."""

from __future__ import annotations

from typing import Annotated

import typer

CollectionArgument = Annotated[str, typer.Argument(help="A collection's name, or its TOML file.")]
SpaceArgument = Annotated[str, typer.Argument(help="collection/space or collection/space/vN.")]
AnyNameArgument = Annotated[
    str | None,
    typer.Argument(help="A collection, collection/space or collection/space/vN; all by default."),
]
PartitionOption = Annotated[str | None, typer.Option(help="Only this partition of the source.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
