"""Which spaces have become older than their owners allow: a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pipeline.config import Collection


def stale_spaces(
    collections: Sequence[Collection], shown: Sequence[Mapping[str, Any]], now: datetime
) -> list[str]:
    """A sentence for each space of a collection with `fresh_within` that is too old.

    shown: what `commonspace show --json` answers. A space that was never promoted counts.
    """
    entries = {str(one["space"]): one for one in shown}
    found = []
    for collection in collections:
        limit = collection.collection.fresh_within
        for space in collection.space if limit else ():
            name = f"{collection.name}/{space.name}/v{space.version}"
            entry = entries.get(name, {})
            if entry.get("retired"):
                continue
            promoted = entry.get("promoted_at")
            if promoted is None:
                found.append(f"{name} was never promoted")
            elif limit and now - datetime.fromisoformat(promoted) > limit:
                age = now - datetime.fromisoformat(promoted)
                found.append(f"{name} was promoted {_hours(age)} ago, more than {_hours(limit)}")
    return found


def _hours(span: Any) -> str:
    return f"{span.total_seconds() / 3600:,.0f} h"
