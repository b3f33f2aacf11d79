"""Markers: small JSON objects beside a space's releases, such as a pin or a retirement."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Marker = TypeVar("Marker", bound="DataclassInstance")


def marker_bytes(marker: DataclassInstance) -> bytes:
    """The marker as it is stored; sets as sorted lists."""
    return (json.dumps(asdict(marker), default=sorted, sort_keys=True) + "\n").encode()


def load_marker(store: Store, key: str, kind: type[Marker]) -> Marker | None:
    """The marker, or None where there is none.

    Raises:
        ContractBroken: the marker is damaged.
    """
    data = store.read(key)
    if data is None:
        return None
    try:
        return kind(**json.loads(data.to_pybytes()))
    except (ValueError, TypeError) as error:
        raise ContractBroken(
            "is damaged",
            item=key,
            do="Delete this file, then repeat the command that wrote it: see docs/releases.md.",
        ) from error
