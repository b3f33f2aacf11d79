"""The names that a collection file gives: to collections and spaces, and to Airflow."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

NAME = r"^[a-z0-9]+([-_][a-z0-9]+)*$"
MAINTENANCE_DAG = "commonspace_maintenance"
"""Our own DAG, which no collection may replace."""


def _check_name(value: str) -> str:
    if not re.fullmatch(NAME, value) or len(value) > 64:
        raise ValueError("must be lower-case letters and digits, joined by single '-' or '_'")
    return value


def _check_collection_name(value: str) -> str:
    if value == MAINTENANCE_DAG:
        raise ValueError("is the name of a DAG of commonspace itself")
    return value


def _check_asset(value: str) -> str:
    if not value.isprintable() or value.strip() != value:
        raise ValueError("must be the name or the address of an Asset, without blanks around it")
    return value


Name = Annotated[str, AfterValidator(_check_name)]
"""Of a space, and with CollectionName of a collection."""
CollectionName = Annotated[Name, AfterValidator(_check_collection_name)]
"""Also that of the collection's DAG."""
AssetName = Annotated[str, Field(min_length=1, max_length=1500), AfterValidator(_check_asset)]
"""The name or the address of an Asset, of which Airflow takes 1,500 characters."""
AirflowName = Annotated[str, Field(min_length=1, max_length=250)]
"""Of a pool or a queue, of which Airflow's database holds 256 characters."""
