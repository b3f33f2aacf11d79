"""Verify: is what readers are served still what was published?"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from commonspace.pipeline.maintenance.rebuild import rebuild_table
from commonspace.pipeline.maintenance.restore import restore_parts
from commonspace.pipeline.maintenance.retain import orphaned_files
from commonspace.pipeline.maintenance.served_space import ServedSpace
from commonspace.pipeline.maintenance.verify_canary import CanaryStatus, verify_canary
from commonspace.pipeline.maintenance.verify_files import verify_files
from commonspace.pipeline.maintenance.verify_table import verify_table
from commonspace.pipeline.release.history import load_readable_manifests
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found of a space, after the repair where one was asked for.

    Attributes:
        served: What was looked at.
        canary: None where there is none, or where it cannot be read.
        orphans: How many files belong to no release; None where a manifest is damaged.
        file_problems: What is wrong with the parts and the rejects of the served release.
        table_problems: What is wrong in LanceDB; not looked for while files are damaged.
        canary_problems: What is wrong with the canary or with the encoder.
        manifest_problems: What is wrong with manifests, those of other releases included.
        restored: The keys of parts that were written again from LanceDB.
        rebuilt: Whether the LanceDB table was written again from the parts.
    """

    served: ServedSpace
    canary: CanaryStatus | None
    orphans: int | None
    file_problems: list[str]
    table_problems: list[str]
    canary_problems: list[str]
    manifest_problems: list[str]
    restored: list[str]
    rebuilt: bool

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, a sentence each."""
        repairable = self.file_problems + self.table_problems
        return repairable + self.canary_problems + self.manifest_problems

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def repaired(self) -> bool:
        """Whether something was repaired, and nothing is wrong with files and table any more."""
        return bool(self.restored or self.rebuilt) and not (
            self.file_problems or self.table_problems
        )

    def to_json(self) -> dict[str, Any]:
        release, pointer = self.served.release, self.served.pointer
        return {
            "space": str(self.served.name),
            "release": release.number,
            "rows": release.rows,
            "parts": len(release.parts),
            "table_version": pointer.table_version,
            "indices": asdict(pointer.indexes) if pointer.indexes else None,
            "canary": self.canary.to_json() if self.canary else None,
            "orphans": self.orphans,
            "problems": self.problems,
            "restored": self.restored,
            "rebuilt": self.rebuilt,
            "repaired": self.repaired,
            "ok": self.ok,
        }


def verify_space(
    store: Store, name: str, *, repair: bool = False, canary: bool = False
) -> Verification:
    """Check the served release of a space against all that is known of it.

    Looked at are the manifest's checksum; of every part the checksum, schema, contract, row count,
    ids and vectors; the file of rejects; the canary's file; LanceDB, row for row and bit for bit;
    the files of its indexes and what they find; and whether a promotion was interrupted. Of other
    releases only the manifests are read.

    Args:
        store: the warehouse.
        name: the space, with or without its version.
        repair: write damaged parts again from LanceDB, where that gives the same bytes; if only
            the table is wrong, write it again from the parts, and undo an interrupted promotion.
            A canary is never made again.
        canary: load the encoder, and compare its vectors of the probes with those of the canary.

    Raises:
        NotPublished: nothing was promoted.
        ContractBroken: the pointer, the manifest or the contract of what is served is damaged.
        Conflict: another release is promoted at the same time.
    """
    served = ServedSpace.load(store, name)
    # First, while LanceDB has no threads yet: a model may be converted in a child process.
    canary_status, canary_problems = verify_canary(served, try_encoder=canary)
    file_problems = verify_files(served)
    restored = restore_parts(served) if repair and file_problems else []
    if restored:
        file_problems = verify_files(served)
    table_problems = [] if file_problems else verify_table(served)
    rebuilt = repair and bool(table_problems)
    if rebuilt:
        pointer = rebuild_table(store, served.name, served.contract, served.release)
        served = replace(served, pointer=pointer)
        table_problems = verify_table(served)
    _, damaged = load_readable_manifests(store, served.name)
    return Verification(
        served=served,
        canary=canary_status,
        orphans=None if damaged else len(orphaned_files(store, served.name)),
        file_problems=file_problems,
        table_problems=table_problems,
        canary_problems=canary_problems,
        manifest_problems=[f"{error.item}: {error.what}" for error in damaged.values()],
        restored=restored,
        rebuilt=rebuilt,
    )
