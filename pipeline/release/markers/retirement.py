"""Retiring a version of a space: its owner declares that it will not be filled again.

Readers keep what they have and are warned. A run of a retired version is refused. `retain
--retired` removes its rows; the marker stays for ever, so that no later run fills the name with
vectors of another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from commonspace.pipeline.contract.layout import retirement_key, spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.release.markers.marker import load_marker, marker_bytes, reword_marker
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class Retirement:
    """Why a version of a space was retired, and when."""

    reason: str
    retired_at: str

    def __str__(self) -> str:
        return f"retired {self.retired_at[:10]}" + (f": {self.reason}" if self.reason else "")


def load_retirement(store: Store, name: SpaceName) -> Retirement | None:
    """The retirement of a space version, or None where it is not retired."""
    return load_marker(store, retirement_key(name), Retirement)


def retire_space(store: Store, name: SpaceName, reason: str = "") -> Retirement:
    """Retire a space version.

    Returns:
        the retirement; where the version is retired already, the older one, with the new reason
        if there is one.
    """
    new = Retirement(reason, datetime.now(UTC).isoformat(timespec="seconds"))
    key = retirement_key(name)
    if store.put_if_absent(key, marker_bytes(new)):
        return new
    old = load_retirement(store, name) or new
    return reword_marker(store, key, old, replace(old, reason=reason)) if reason else old


def revive_space(store: Store, name: SpaceName) -> None:
    """Take a retirement back.

    Raises:
        UserMistake: the version is not retired, or its rows were removed.
    """
    if load_retirement(store, name) is None:
        raise UserMistake("is not retired", item=str(name))
    if not store.exists(spec_key(name)):  # it is written with the first candidate
        raise UserMistake(
            "its rows were removed, and its name is not used again",
            item=str(name),
            do=f"Set version = {name.version + 1} for the space.",
        )
    store.delete(retirement_key(name))


def require_not_retired(store: Store, name: SpaceName) -> None:
    """Stop a run of a retired space version.

    Raises:
        UserMistake: the version is retired.
    """
    retirement = load_retirement(store, name)
    if retirement is not None:
        raise UserMistake(
            f"this version of the space was {retirement}",
            item=str(name),
            do="Take it out of the collection file, or set a higher `version`. "
            f"`commonspace retire {name} --undo` takes the retirement back.",
        )
