"""PROMOTING: the promotion that is under way, announced before LanceDB is touched.

While it stands, `retain` keeps what its release needs, and LanceDB may be ahead of CURRENT.
"""

from __future__ import annotations

from dataclasses import dataclass

from commonspace.pipeline.contract.layout import promotion_key, promotion_lock_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, NotPublished
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.markers.marker import load_marker, marker_bytes
from commonspace.pipeline.release.markers.removal import require_not_in_removal
from commonspace.pipeline.storage.store import Store

PROMOTE = "promote"
ROLLBACK = "rollback"
"""What a person promotes by, where a run has its id."""


@dataclass(frozen=True)
class PendingPromotion:
    """An announced promotion: to which release, and by what."""

    release: int
    by: str
    """A run's id, PROMOTE or ROLLBACK."""


def load_pending_promotion(store: Store, name: SpaceName) -> PendingPromotion | None:
    """The promotion that is under way, or was interrupted; None where there is none."""
    return load_marker(store, promotion_key(name), PendingPromotion)


def announce(store: Store, name: SpaceName, release: Release, by: str) -> None:
    """Say that the release is about to be served; LanceDB may be touched once this returns.

    Raises:
        Conflict: the release is being removed.
        NotPublished: it is gone.
    """
    store.put(promotion_key(name), marker_bytes(PendingPromotion(release.number, by)))
    try:
        require_not_in_removal(store, name, release)
    except (Conflict, NotPublished):
        store.delete(promotion_key(name))
        raise


def withdraw(store: Store, name: SpaceName) -> None:
    """Remove the announcement, where there is one."""
    if store.read(promotion_key(name)) is not None:
        store.delete(promotion_key(name))


def promotion_problems(store: Store, name: SpaceName) -> list[str]:
    """What is wrong where a promotion was interrupted: LanceDB may be ahead of CURRENT."""
    if load_pending_promotion(store, name) is None:
        return []
    with store.lock(promotion_lock_key(name)):  # one that is alive ends first
        pending = load_pending_promotion(store, name)
    if pending is None:
        return []
    verb = "rollback" if pending.by == ROLLBACK else "promotion"
    return [f"a {verb} to release {pending.release} was interrupted: LanceDB may be ahead"]
