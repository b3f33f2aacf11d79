"""Which spaces have become older than their owners allow: a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from commonspace.pipeline.config.collection import Collection


def stale_spaces(
    collections: Sequence[Collection], shown: Sequence[Mapping[str, Any]], now: datetime
) -> list[str]:
    """A sentence for each space of a collection with `fresh_within` that is too old.

    shown: what `commonspace show --json` answers. A space is as old as the last run that promoted
    a release or found nothing to change; one that was never promoted counts.
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
            moment = entry.get("confirmed_at") or entry.get("promoted_at")
            if moment is None:
                found.append(f"{name} was never promoted")
            elif limit and (age := now - datetime.fromisoformat(moment)) > limit:
                found.append(
                    f"{name} was brought to its source {_hours(age)} ago, more than {_hours(limit)}"
                )
    return found


def _hours(span: Any) -> str:
    return f"{span.total_seconds() / 3600:,.0f} h"
