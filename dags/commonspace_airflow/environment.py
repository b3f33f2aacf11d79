"""What opens the warehouse's bucket: the worker's environment, or an Airflow connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import collection_files, load_collection
from commonspace.pipeline.errors import UserMistake

FOLDER = Path(
    os.environ.get("COMMONSPACE_COLLECTIONS") or Path(__file__).parents[1] / "collections"
)


def whole_collections() -> list[Collection]:
    """Every collection whose file can be read; the DAGs of the others say what is wrong."""
    found = []
    for path in collection_files(FOLDER):
        try:
            found.append(load_collection(path))
        except UserMistake:
            continue
    return found


CONNECTION = "commonspace_warehouse"
EXTRA = {
    "region_name": "AWS_REGION",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "aws_session_token": "AWS_SESSION_TOKEN",
    "allow_http": "AWS_ALLOW_HTTP",
    "virtual_hosted_style_request": "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
}
"""Keys of the connection's extra: three as Airflow's own connections to AWS call them, two ours."""


def access(environment: Mapping[str, str]) -> dict[str, str]:
    """What the connection `commonspace_warehouse` adds to the environment of a stage.

    Its login and password are the access key and its secret. It is asked for only where the
    warehouse is a bucket and the environment has no key; where there is none of this name, the
    role of the machine opens the bucket, or nothing does.
    """
    bucket = environment.get("COMMONSPACE_WAREHOUSE", "").startswith("s3://")
    if not bucket or environment.get("AWS_ACCESS_KEY_ID"):
        return {}
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return variables_of(Connection.get(CONNECTION))
    except AirflowNotFoundException:
        return {}


def variables_of(connection: Any) -> dict[str, str]:
    """The connection as environment variables; what it leaves out is not among them."""
    found = {"AWS_ACCESS_KEY_ID": connection.login, "AWS_SECRET_ACCESS_KEY": connection.password}
    extra = connection.extra_dejson
    found |= {variable: extra.get(key) for key, variable in EXTRA.items()}
    return {
        variable: "true" if value is True else str(value)
        for variable, value in found.items()
        if value
    }
