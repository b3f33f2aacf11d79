"""Markers: small JSON objects beside a space's releases, such as a pin or a retirement."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from commonspace.pipeline.contract.documents import made, read_document
from commonspace.pipeline.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Marker = TypeVar("Marker", bound="DataclassInstance")


def marker_bytes(marker: DataclassInstance) -> bytes:
    """The marker as it is stored; sets as sorted lists."""
    return (json.dumps(asdict(marker), default=sorted, sort_keys=True) + "\n").encode()


def reword_marker(store: Store, key: str, old: Marker, new: Marker) -> Marker:
    """The new marker in the old one's place; whatever has come to stand there meanwhile stays."""
    stored = store.read(key)
    is_old = stored is not None and load_marker(store, key, type(old)) == old
    if is_old and stored is not None:
        store.compare_and_swap(key, stored.to_pybytes(), marker_bytes(new))
    return load_marker(store, key, type(old)) or old


def load_marker(store: Store, key: str, kind: type[Marker]) -> Marker | None:
    """The marker, or None where there is none.

    Raises:
        ContractBroken: the marker is damaged.
    """
    data = store.read(key)
    if data is None:
        return None
    do = "Delete this file, then repeat the command that wrote it: see docs/releases.md."
    return read_document(data, key, lambda document: made(kind, _with_sets(document)), do)


def _with_sets(document: Any) -> Any:
    """The document with sets for its lists, which hold nothing twice and in no order."""
    if not isinstance(document, dict):
        return document
    return {n: frozenset(v) if isinstance(v, list) else v for n, v in document.items()}
