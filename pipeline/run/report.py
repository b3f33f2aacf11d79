"""How a run's work on a space ended: gathered from the notes of its stages, and stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.allocator import peak_rss
from commonspace.pipeline.encode.notes import EncodeNote, items_per_second
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.publish.notes import PromotionNote, PublishNote
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.run.markdown import report_text
from commonspace.pipeline.run.notes import Refusal, ReleaseState, RunReport
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary, RunNote, as_stored
from commonspace.pipeline.workspace.work import Work


def report_stage(work: Work) -> RunReport:
    """Store what the run did to the space, as report.json and, for people, as report.md.

    Raises:
        UserMistake: a stage before this one has not run.
    """
    notes = _Notes.read(work)
    encodes = notes.encodes
    release = load_release(work.run.store, work.name, notes.published.release)
    pointer = load_current(work.run.store, work.name)
    verdict = as_stored(notes.verdict.to_json())
    rejects = release.rejects or {}
    report = RunReport(
        collection=work.run.collection.name,
        space=work.space.name,
        version=work.space.version,
        encoder=work.spec.label,
        trained=work.spec.trained,
        fingerprint=work.spec.fingerprint,
        run=work.run.id,
        whole_scope=work.run.scope.ids is None,
        release=release.number,
        rows=release.rows,
        promoted=notes.promoted,
        state=_state(pointer, release.number, promoted=notes.promoted),
        held=pointer.hold_details if pointer else None,
        ledger=verdict["ledger"],
        rejects_by_reason=rejects.get("by_reason", {}),
        rejects=rejects.get("key"),
        gates=(*verdict["gates"], *_index_gate(pointer, release.number)),
        items_per_second=items_per_second(encodes),
        seconds=notes.seconds,
        shards={"planned": len(notes.plan.shards), "encoded": len(encodes)},
        device=encodes[0].device if encodes else None,
        engine=encodes[0].engine if encodes else None,
        peak_rss_bytes=max([peak_rss(), *(note.peak_rss_bytes for note in encodes)]),
        notices=tuple(n.to_json() for n in (*notes.plan.notices, *notes.verdict.notices)),
    )
    work.write_note(report)
    work.run.store.put(work.path("report.md"), report_text(report).encode())
    return report


def record_refusal(work: Work, error: CommonspaceError) -> Refusal:
    """Why the run ends without a release of the space; stored where a gate refused.

    No report.json is written: the same run may be tried again, and then end with one.
    """
    refusal = Refusal(
        collection=work.run.collection.name,
        space=work.space.name,
        version=work.space.version,
        run=work.run.id,
        error=type(error).__name__,
        what=error.what if not error.item else f"{error.item}: {error.what}",
        item=error.item,
        retry=error.retry,
        do=error.do,
        **_gates_and_ledger(work, error) if isinstance(error, GateRefused) else {},
    )
    if refusal.gates is not None:
        work.write_note(refusal)
    return refusal


def _gates_and_ledger(work: Work, error: GateRefused) -> dict[str, Any]:
    verdict = work.find_note(Verdict)
    stored = as_stored(verdict.to_json()) if verdict else {}
    refused = {gate["name"] for gate in error.gates}
    earlier = [gate for gate in stored.get("gates", ()) if gate["name"] not in refused]
    return {"gates": (*earlier, *error.gates), "ledger": stored.get("ledger")}


@dataclass(frozen=True, kw_only=True)
class _Notes:
    """What the stages have left about one space."""

    pulled: RunNote
    plan: PlanSummary
    encodes: list[EncodeNote]
    verdict: Verdict
    published: PublishNote
    promotion: PromotionNote | None

    @classmethod
    def read(cls, work: Work) -> _Notes:
        return cls(
            pulled=work.run.read_note(),
            plan=work.read_note(PlanSummary),
            encodes=work.read_notes(EncodeNote),
            verdict=work.read_note(Verdict),
            published=work.read_note(PublishNote),
            promotion=work.find_note(PromotionNote),
        )

    @property
    def promoted(self) -> bool:
        return self.promotion is not None and self.promotion.promoted

    @property
    def seconds(self) -> dict[str, float | None]:
        return {
            "pull": self.pulled.seconds,
            "plan": self.plan.seconds,
            "encode": sum(note.seconds for note in self.encodes),
            "validate": self.verdict.seconds,
            "publish": self.published.seconds,
            "index": self.promotion.seconds if self.promotion else None,
        }


def _state(pointer: Current | None, number: int, *, promoted: bool) -> ReleaseState:
    if promoted:
        return "promoted"
    return "unchanged" if pointer and pointer.release == number else "candidate"


def _index_gate(pointer: Current | None, number: int) -> list[Mapping[str, Any]]:
    """The gate over the vector index, where the release is served and has one."""
    indexes = pointer.indexes if pointer and pointer.release == number else None
    return [indexes.vector.to_gate()] if indexes and indexes.vector else []
