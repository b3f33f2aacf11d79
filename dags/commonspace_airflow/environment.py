"""What the DAGs read from their surroundings: the folder of collection files, and the keys that
open the warehouse's bucket, from the worker's environment or an Airflow connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import collection_files, load_collection
from commonspace.pipeline.errors import UserMistake

COLLECTIONS_FOLDER = Path(
    os.environ.get("COMMONSPACE_COLLECTIONS") or Path(__file__).parents[1] / "collections"
)
CONNECTION = "commonspace_warehouse"
EXTRA_VARIABLES = {
    "region_name": "AWS_REGION",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "allow_http": "AWS_ALLOW_HTTP",
    "virtual_hosted_style_request": "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
}
"""The variable of each key of the connection's extra. The first three keys are named as in
Airflow's own connections to AWS, the other two are ours."""


def readable_collections() -> list[Collection]:
    """Every collection whose file can be read; the DAGs of the others say what is wrong."""
    collections = []
    for path in collection_files(COLLECTIONS_FOLDER):
        try:
            collections.append(load_collection(path))
        except UserMistake:
            continue
    return collections


def bucket_access(environment: Mapping[str, str]) -> dict[str, str]:
    """What the connection `commonspace_warehouse` adds to the environment of a stage.

    Its login and password are the access key and its secret. It is read only where the warehouse
    is a bucket and the environment has no key. Where there is no such connection, the role of the
    machine opens the bucket, or nothing does.
    """
    is_bucket = environment.get("COMMONSPACE_WAREHOUSE", "").startswith("s3://")
    if not is_bucket or environment.get("AWS_ACCESS_KEY_ID"):
        return {}
    # Only where it is needed: parsing a DAG must not need the database.
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return connection_variables(Connection.get(CONNECTION))
    except AirflowNotFoundException:
        return {}


def connection_variables(connection: Any) -> dict[str, str]:
    """The connection as environment variables; what it leaves out is not among them."""
    extra = connection.extra_dejson
    values = {
        "AWS_ACCESS_KEY_ID": connection.login,
        "AWS_SECRET_ACCESS_KEY": connection.password,
        **{variable: extra.get(key) for key, variable in EXTRA_VARIABLES.items()},
    }
    return {
        variable: "true" if value is True else str(value)
        for variable, value in values.items()
        if value
    }
