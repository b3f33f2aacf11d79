"""pipeline/publish/draft.py"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from commonspace.pipeline.canary.versions import installed_versions
from commonspace.pipeline.encode.note import EncodeNote, items_per_second
from commonspace.pipeline.release.indexes import IndexSettings
from commonspace.pipeline.release.manifest import Part, Release
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.work import Work


def state_of(
    parts: Iterable[Part], rejects: dict[str, Any] | None, about: Mapping[str, Any]
) -> str:
    """sha256 over the checksums of all that a release holds, and what it says about itself."""
    held = [part.sha256 for part in parts] + [rejects["sha256"] if rejects else ""]
    held.append(json.dumps(about, sort_keys=True))
    return hashlib.sha256("\n".join(held).encode()).hexdigest()


def about(work: Work) -> dict[str, Any]:
    """What a manifest says beside its rows: where the encoder is, whose the space is, indices."""
    collection = work.run.collection
    index = collection.index_settings(work.space)
    # The defaults go without saying: a release from before there were indices is still equal.
    said = {} if index == IndexSettings() else {"index": json.loads(json.dumps(asdict(index)))}
    return {
        "encoder": collection.encoder_reference(work.space).to_json(),
        "owner": collection.collection.owner,
        "description": collection.collection.description,
        **said,
    }


def draft_release(
    work: Work,
    verdict: Verdict,
    parts: tuple[Part, ...],
    rejects: Any,
    state: str,
    canary: str | None,
) -> Release:
    """The next release of the space, yet without a number."""
    return Release(
        number=0,
        parent=work.base.number if work.base else 0,
        state=state,
        space=str(work.name),
        fingerprint=work.spec.fingerprint,
        spec=work.spec.to_json(),
        **about(work),
        run=work.run.id,
        scope=str(work.run.scope),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=sum(part.rows for part in parts),
        parts=parts,
        rejects=rejects,
        ledger=asdict(verdict.ledger),
        gates=tuple(asdict(gate) for gate in verdict.gates),
        items_per_second=items_per_second(work.read_notes(EncodeNote)) or _pace(work),
        versions=installed_versions(),
        canary=canary,
    )


def _pace(work: Work) -> float | None:
    """The pace of the release before, where this run has encoded nothing."""
    return work.base.items_per_second if work.base else None
