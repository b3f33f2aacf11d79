"""Freshness: when readers of a space were last seen to have what its source offers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pipeline.contract import SpaceName
from pipeline.store import Store


def confirmed_at(store: Store, name: SpaceName) -> str | None:
    """When the latest run whose report is kept ended with its release served; ISO 8601, UTC.

    A run that finds nothing changed confirms what is served, and promotes nothing. One of some ids
    only, as a retry of rejects is, says nothing of the rest of the source. None where no run has
    ended so: the reports of the last 20 runs are kept.
    """
    folder, end = f".runs/{name.collection}", f"/{name.space}-v{name.version}/report.json"
    written = {key: at for key, at in store.written(folder).items() if key.endswith(end)}
    for key, at in sorted(written.items(), key=lambda pair: -pair[1]):
        data = store.read(key)
        report = json.loads(data.to_pybytes()) if data is not None else {}
        serves = report.get("state") in {"promoted", "unchanged"}
        if serves and report.get("whole_scope", False):
            return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return None
