"""What the consumers of a space learn of a new release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from commonspace.pipeline.contract.layout import release_key
from commonspace.pipeline.publish.notes import PublishNote
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import as_stored
from commonspace.pipeline.workspace.work import Work


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """The release of a run, as an Airflow asset event carries it.

    Attributes:
        promoted: Whether readers see it since this run.
        partition: The run's; None where it was not of one.
        encoder: A name for people.
        ledger: How many items ended in which state.
        manifest: The key of the release's manifest.
    """

    space: str
    promoted: bool
    release: int
    rows: int
    partition: str | None
    fingerprint: str
    encoder: str
    ledger: Mapping[str, int]
    manifest: str

    @classmethod
    def of(cls, work: Work, *, promoted: bool) -> Announcement:
        """The announcement of the release that the run has published.

        Raises:
            UserMistake: the run has not published yet.
        """
        number = work.read_note(PublishNote).release
        return cls(
            space=str(work.name),
            promoted=promoted,
            release=number,
            rows=load_release(work.run.store, work.name, number).rows,
            partition=work.run.scope.partition,
            fingerprint=work.spec.fingerprint,
            encoder=work.spec.label,
            ledger=as_stored(work.read_note(Verdict).ledger.to_json()),
            manifest=release_key(work.name, number),
        )

    def to_json(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
