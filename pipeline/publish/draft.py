"""The manifest of a release before it has a number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from commonspace.pipeline.canary.library_versions import installed_versions
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.encode.notes import EncodeNote, items_per_second
from commonspace.pipeline.release.indexes import IndexSettings
from commonspace.pipeline.release.manifest import Part, Release
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Work


def state_digest(
    parts: Iterable[Part], rejects: Mapping[str, Any] | None, description: Mapping[str, Any]
) -> str:
    """The `state` of a release, equal where nothing differs that readers could see.

    Args:
        parts: those of the release.
        rejects: as the manifest has them.
        description: what `describe_space` gives.

    Returns:
        sha256 over the checksums of all its files and over its description.
    """
    lines = [part.sha256 for part in parts] + [rejects["sha256"] if rejects else ""]
    lines.append(json.dumps(description, sort_keys=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe_space(work: Work) -> dict[str, Any]:
    """What a manifest says beside its rows: how to load the encoder, the owner, the indexes …"""
    collection = work.run.collection
    settings = collection.index_settings(work.space)
    unterminated = work.read_note(PlanSummary).unterminated
    # The defaults are left out: a release from before there were indexes is still equal.
    index = {"index": json.loads(json.dumps(asdict(settings)))}
    return {
        "encoder": collection.encoder_reference(work.space).to_json(),
        "owner": collection.collection.owner,
        "description": collection.collection.description,
        **(index if settings != IndexSettings() else {}),
        **({"unterminated": unterminated} if unterminated else {}),
    }


def draft_release(
    work: Work,
    verdict: Verdict,
    *,
    parts: tuple[Part, ...],
    rejects: Mapping[str, Any] | None,
    changes: Mapping[str, int],
    state: str,
    recipe: Recipe | None,
    canary: str | None,
) -> Release:
    """The next release of the space; its number is 0 until it is committed.

    Args:
        work: the run's work on the space.
        verdict: what the gates have seen.
        parts: all those of the release.
        rejects: the file of its rejects, as `write_rejects` gives it.
        changes: how many rows were added, changed and removed.
        state: what `state_digest` gives.
        recipe: that of the space's contract, where it is recorded.
        canary: sha256 of the space's canary file; None where there is none.
    """
    return Release(
        number=0,
        parent=work.base.number if work.base else 0,
        state=state,
        space=str(work.name),
        fingerprint=work.spec.fingerprint,
        spec=work.spec.to_json(),
        **describe_space(work),
        run=work.run.id,
        scope=str(work.run.scope),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=sum(part.rows for part in parts),
        parts=parts,
        rejects=rejects,
        ledger=asdict(verdict.ledger),
        gates=tuple(asdict(gate) for gate in verdict.gates),
        items_per_second=_pace(work),
        versions=installed_versions(),
        canary=canary,
        changes=changes,
        columns=dict(work.contract.metadata),
        recipe=recipe.to_json() if recipe else None,
        notices=tuple(
            n.to_json() for n in (*work.read_note(PlanSummary).notices, *verdict.notices)
        ),
    )


def _pace(work: Work) -> float | None:
    """The pace of this run; where it has encoded nothing, that of the release before."""
    pace = items_per_second(work.read_notes(EncodeNote))
    return pace or (work.base.items_per_second if work.base else None)
