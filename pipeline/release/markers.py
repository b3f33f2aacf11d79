"""Marks: small JSON objects beside a space's releases, such as a pin."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.store import Store

Marker = TypeVar("Marker", bound="DataclassInstance")


def marker_bytes(mark: DataclassInstance) -> bytes:
    """The mark as it is stored; sets as sorted lists."""
    return (json.dumps(asdict(mark), default=sorted, sort_keys=True) + "\n").encode()


def load_marker(store: Store, key: str, kind: type[Marker]) -> Marker | None:
    """The mark, or None where there is none. Raises ContractBroken where it is damaged."""
    data = store.read(key)
    if data is None:
        return None
    try:
        return kind(**json.loads(data.to_pybytes()))
    except (ValueError, TypeError) as error:
        raise ContractBroken(
            "is damaged",
            item=key,
            do="Remove it, and say again what it said: see docs/releases.md.",
        ) from error
