"""The pointer CURRENT: which release readers see, and which LanceDB version holds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from commonspace.pipeline.contract.documents import DAMAGE, check_types, damage, made
from commonspace.pipeline.contract.layout import current_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import ContractBroken, NotPublished
from commonspace.pipeline.release.indexes import Indexes
from commonspace.pipeline.release.manifest import (
    canonical_digest,
    load_release,
    number_ranges,
    release_numbers,
)
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True)
class RollbackHold:
    """A rollback keeps a space at the release it serves: since when, and why."""

    since: str
    """ISO 8601, UTC."""
    reason: str = ""

    def __str__(self) -> str:
        moment = self.since[:16].replace("T", " ")
        why = f": {self.reason}" if self.reason else ""
        return f"held since {moment} UTC by a rollback{why}"

    def describe(self, space: str, served: int, waiting: int) -> str:
        """A sentence: what is served, what waits, and how to go on.

        Args:
            space: the name of the space.
            served: the release that readers see.
            waiting: the release that a run would have promoted, `served` where nothing differs.
        """
        waits = f", release {waiting} waits" if waiting != served else ""
        serves = "serves it and " if waiting != served else ""
        return (
            f"{space} is HELD at release {served}{waits} ({self}). "
            f"`commonspace promote {space} {waiting}` {serves}lifts the hold"
        )


@dataclass(frozen=True)
class ServedRelease:
    """A release that readers were served before the current one."""

    release: int
    table_version: int
    promoted_at: str


@dataclass(frozen=True)
class Current:
    """The pointer that readers follow: the promoted release and its state in LanceDB."""

    release: int
    table: str
    table_version: int
    promoted_at: str
    run: str
    """What moved the pointer: a run's id, `promote` or `rollback`."""
    served: tuple[ServedRelease, ...] = ()
    """What was served before, each release once, the latest last; removed releases are left out."""
    indexes: Indexes | None = None
    """Those of the table's version; None where a search compares every row. Stored as `indices`."""
    hold: RollbackHold | None = None
    """While it is set, runs promote nothing. A rollback sets it, a promotion by hand lifts it."""

    @property
    def hold_details(self) -> dict[str, Any] | None:
        """The hold as `--json` shows it: at which release, since when, why."""
        return {"release": self.release, **asdict(self.hold)} if self.hold else None

    def after_promotion(
        self, *, release: int, table_version: int, promoted_at: str, run: str
    ) -> Current:
        """The pointer to the next release: this one in its history, no hold, no indexes yet."""
        earlier = (*self.served, ServedRelease(self.release, self.table_version, self.promoted_at))
        served = tuple(entry for entry in earlier if entry.release != release)
        return Current(release, self.table, table_version, promoted_at, run, served)

    def to_bytes(self) -> bytes:
        """The pointer as it is stored, with a checksum."""
        values = json.loads(json.dumps(asdict(self)))
        document = {"indices" if key == "indexes" else key: value for key, value in values.items()}
        document = {key: value for key, value in document.items() if value is not None}
        document["sha256"] = canonical_digest(document)
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Current:
        """The pointer that `to_bytes` has written.

        Raises:
            ContractBroken: the bytes are damaged.
        """
        try:
            pointer = cls._parse(json.loads(data))
            check_types(pointer)
            datetime.fromisoformat(pointer.promoted_at)
        except DAMAGE as error:
            raise ContractBroken(
                f"the pointer to the served release is damaged: {damage(error)}",
                item="CURRENT",
                do="Restore the file from a copy: it names the release that readers see.",
            ) from error
        return pointer

    @classmethod
    def _parse(cls, document: Any) -> Current:
        # Before there was a checksum, pointers had none.
        if document.pop("sha256", None) not in (None, canonical_digest(document)):
            raise ValueError("its checksum does not match")
        served = document.pop("served", ())
        hold, indexes = document.pop("hold", None), document.pop("indices", None)
        values = {
            "served": tuple(made(ServedRelease, entry) for entry in served),
            "indexes": Indexes.from_json(indexes) if indexes else None,
            "hold": made(RollbackHold, hold) if hold else None,
        }
        return made(cls, {**document, **values})


def load_current(store: Store, name: SpaceName) -> Current | None:
    """The pointer of a space, or None where nothing was promoted yet.

    Raises:
        ContractBroken: the pointer is damaged.
    """
    data = store.read(current_key(name))
    if data is None:
        return None
    try:
        pointer = Current.from_bytes(data.to_pybytes())
        if pointer.table != name.table:
            raise ContractBroken(f"the pointer is damaged: its table is {pointer.table!r}")
    except ContractBroken as error:
        key, do = current_key(name), pointer_recovery_hint(store, name)
        raise ContractBroken(error.what, item=key, do=do) from error
    return pointer


def require_pointer(store: Store, name: SpaceName) -> None:
    """Stop where CURRENT is missing although a release was served.

    Raises:
        ContractBroken: the pointer is lost.
    """
    if store.read(current_key(name)) is None and any_was_served(store, name):
        raise ContractBroken(
            "the pointer to the served release is lost",
            item=current_key(name),
            do=pointer_recovery_hint(store, name),
        )


def any_was_served(store: Store, name: SpaceName) -> bool:
    """Whether any release was served, as far as the kept manifests tell.

    A release that another was made from was served, for a run plans from CURRENT.
    """
    for number in release_numbers(store, name):
        try:
            if load_release(store, name, number).parent:
                return True
        except (NotPublished, ContractBroken):
            continue
    return False


def pointer_recovery_hint(store: Store, name: SpaceName) -> str:
    """What the owner can do where CURRENT does not say which release is served."""
    return (
        "Restore the file from a copy, or choose the release that readers are to see: "
        f"`commonspace rollback {name} RELEASE` serves it and holds the space there (kept: "
        f"{number_ranges(release_numbers(store, name))})."
    )
