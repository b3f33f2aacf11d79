"""pipeline/pull/stage.py"""

from __future__ import annotations

from typing import Any

from commonspace.pipeline.pull.pull import pull
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.workspace.work import Run, timer


def pull_stage(run: Run) -> dict[str, Any]:
    """Read the source's scope into the run's folder."""
    source = open_source(run.collection)
    with run.progress(f"{run.collection.name}: pull") as progress, timer() as seconds:
        found = pull(
            run.collection, source, run.store, run.folder, run.id, run.scope, progress
        )  # fmt: skip
    result = {
        "run": run.id,
        "records": found.records,
        "items": found.items,
        "rejected": found.rejected,
        "seconds": seconds(),
    }
    run.write_note(result)
    return result
