"""What a run leaves about each of its spaces when it ends: a report, or why it was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from commonspace.pipeline.workspace.notes import PlainNote

ReleaseState = Literal["promoted", "unchanged", "candidate"]


@dataclass(frozen=True, kw_only=True)
class RunReport(PlainNote):
    """What a run did to a space.

    Attributes:
        encoder: A name for people; `trained` and `fingerprint` are the encoder's, too.
        whole_scope: Whether the run was of everything or a partition, not of some ids.
        release: The release that holds what the run found.
        rows: Those of the release.
        promoted: Whether this run has promoted the release.
        state: `promoted` by this run, `unchanged` since an earlier one, or still a `candidate`.
        held: What keeps the space from being promoted by runs; None where nothing does.
        ledger: How many items ended in which state.
        rejects: The key of the file that names every reject; None where there are none.
        gates: As manifests hold them; last, that of the vector index, where there is one.
        items_per_second: The pace of encoding; None where nothing was encoded.
        seconds: By stage; None for what did not run.
        shards: How many were `planned`, and how many this run has `encoded` itself.
        device, engine: Those that encoded; None where nothing was encoded.
        peak_rss_bytes: The largest memory of any process of the run.
        notices: As the plan and the verdict have them.
    """

    FILE: ClassVar[str] = "report.json"

    collection: str
    space: str
    version: int
    encoder: str
    trained: bool
    fingerprint: str
    run: str
    whole_scope: bool
    release: int
    rows: int
    promoted: bool
    state: ReleaseState
    held: Mapping[str, Any] | None
    ledger: Mapping[str, int]
    rejects_by_reason: Mapping[str, int]
    rejects: str | None
    gates: tuple[Mapping[str, Any], ...]
    items_per_second: float | None
    seconds: Mapping[str, float | None]
    shards: Mapping[str, int]
    device: str | None
    engine: str | None
    peak_rss_bytes: int
    notices: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Refusal(PlainNote):
    """Why a run has not published a space.

    Attributes:
        error: The name of the error's class.
        what: What happened, to what; `item` has that alone.
        retry: Whether trying again can help.
        do: What a person can do next.
        gates: Where a gate refused: every gate that was looked at, as manifests hold them.
        ledger: Where a gate refused and items were counted before: how many ended in which state.
    """

    FILE: ClassVar[str] = "refusal.json"

    collection: str
    space: str
    version: int
    run: str
    error: str
    what: str
    item: str | None
    retry: bool
    do: str
    gates: tuple[Mapping[str, Any], ...] | None = None
    ledger: Mapping[str, int] | None = None

    def to_json(self) -> dict[str, Any]:
        values = super().to_json()
        if self.gates is None:
            del values["gates"], values["ledger"]
        return values
