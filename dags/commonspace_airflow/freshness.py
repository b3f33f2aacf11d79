"""Which spaces are older than their owners allow: a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import space_key


def stale_spaces(
    collections: Sequence[Collection], entries: Sequence[Mapping[str, Any]], now: datetime
) -> list[str]:
    """A sentence for each space of a collection with `fresh_within` that is too old.

    A space is as old as the last run that promoted a release or found nothing to change. One that
    was never promoted is too old.

    Args:
        collections: those that are declared.
        entries: what `commonspace show --json` prints.
        now: the time.
    """
    entry_of = {str(entry["space"]): entry for entry in entries}
    sentences = []
    for collection in collections:
        limit = collection.collection.fresh_within
        for space in collection.space if limit else ():
            name = f"{collection.name}/{space_key(space)}"
            entry = entry_of.get(name, {})
            if entry.get("retired"):
                continue
            moment = entry.get("confirmed_at") or entry.get("promoted_at")
            if moment is None:
                sentences.append(f"{name} was never promoted")
            elif limit and (age := now - datetime.fromisoformat(moment)) > limit:
                sentences.append(
                    f"{name} was last up to date {_hours(age)} ago, more than {_hours(limit)}"
                )
    return sentences


def _hours(duration: timedelta) -> str:
    return f"{duration.total_seconds() / 3600:,.0f} h"
