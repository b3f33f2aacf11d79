"""CURRENT: which release readers see, and which version of the LanceDB table holds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import ContractBroken
from pipeline.hold import Hold
from pipeline.index_choice import Indices
from pipeline.records import canonical_digest


@dataclass(frozen=True)
class Served:
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
    served: tuple[Served, ...] = ()
    """What was served before, the latest last, a release once; what retention removed is not
    among them."""
    indices: Indices | None = None
    """Those of the table's version; None where a search compares every row."""
    hold: Hold | None = None
    """Runs promote nothing while it stands; a rollback makes it, a promotion by hand lifts it."""

    @property
    def held(self) -> dict[str, Any] | None:
        """The hold as answers tell it: at which release, since when, why."""
        return {"release": self.release, **asdict(self.hold)} if self.hold else None

    def followed_by(self, release: int, version: int, moment: str, run: str) -> Current:
        """The pointer after the next promotion, this one in its history; it holds nothing."""
        earlier = (*self.served, Served(self.release, self.table_version, self.promoted_at))
        served = tuple(one for one in earlier if one.release != release)
        return Current(release, self.table, version, moment, run, served)

    def to_bytes(self) -> bytes:
        document = json.loads(json.dumps(asdict(self)))
        document = {key: value for key, value in document.items() if value is not None}
        document["sha256"] = canonical_digest(document)
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Current:
        """Raises ContractBroken for what `to_bytes` has not written."""
        try:
            document = json.loads(data)
            # Before there was a checksum, pointers had none.
            if document.pop("sha256", None) not in (None, canonical_digest(document)):
                raise ValueError("its checksum does not match")
            served = tuple(Served(**one) for one in document.pop("served", ()))
            hold, indices = document.pop("hold", None), document.pop("indices", None)
            return cls(
                **document,
                served=served,
                indices=Indices.from_json(indices) if indices else None,
                hold=Hold(**hold) if hold else None,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContractBroken(
                f"the pointer to the served release is damaged: {error}",
                item="CURRENT",
                do="Restore the file from a copy: it names the release that readers see.",
            ) from error
