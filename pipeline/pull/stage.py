"""The pull stage: read the source's scope into the run's folder, and note the counts."""

from __future__ import annotations

from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.pull.pull import pull
from commonspace.pipeline.source.content import content_recipe
from commonspace.pipeline.source.open import open_source
from commonspace.pipeline.workspace.notes import RunNote
from commonspace.pipeline.workspace.work import Run, timer


def pull_stage(run: Run) -> RunNote:
    """Pull the run's scope; its counts and notices, which `run.json` holds for the later stages.

    Raises:
        SourceNotFound: the source is missing.
        UserMistake: a field that the collection file names is in no record.
        EncoderError: the encoder of a space with passages is not usable.
    """
    source = open_source(run.collection)
    with run.progress(f"{run.collection.name}: pull") as progress, timer() as seconds:
        pulled = pull(
            run.collection,
            source,
            store=run.store,
            folder=run.folder,
            run=run.id,
            scope=run.scope,
            progress=progress,
            delete_missing=run.delete_missing,
        )
    note = RunNote(
        run=run.id,
        records=pulled.counts.records,
        items=pulled.counts.items,
        rejected=pulled.counts.rejected,
        bad_cells=pulled.counts.bad_cells,
        notices=pulled.notices,
        seconds=seconds(),
        scope=run.scope,
        retry_rejects=run.retry_rejects,
        force=run.force,
        recipes={space_key(space): content_recipe(space) for space in run.collection.space},
        delete_missing=run.delete_missing,
    )
    run.write_note(note)
    return note
