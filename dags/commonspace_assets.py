"""Every Asset, in one place: Airflow refuses a name that is declared with two addresses."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Asset

from pipeline.config import Collection, SpaceSection


def space_asset(collection: Collection, space: SpaceSection) -> Asset:
    """The Asset that a promotion of the space updates."""
    return named_asset(f"{collection.name}/{space.name}/v{space.version}")


def source_asset(name: str) -> Any:
    """What starts a collection: an Asset by its address, or by its name.

    The Asset of a space has the space's name, such as `books/blurb/v1`.
    """
    if "://" in name:
        return Asset.ref(uri=name)
    return Asset.ref(name=name)


def named_asset(space: str) -> Asset:
    """The Asset of `collection/space/vN`, for a consumer's DAG."""
    return Asset(name=space, uri=f"commonspace://{space}", group="commonspace")
