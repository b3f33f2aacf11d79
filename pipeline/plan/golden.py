"""pipeline/plan/golden.py"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.plan.golden_file import GoldenQuery, read_golden
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.workspace.work import Work


def check_golden(work: Work, items: pa.Table, published: pa.Table) -> None:
    """Refuse golden queries that cannot be meant, before anything is encoded.

    items, published: what the source offers and what is published, by `contract.item_column`
    and `id`. Raises UserMistake for a wrong line, and for an id that neither holds; a run over
    a part of the source does not judge ids, as the rest may be yet to come.
    """
    golden = _declared(work)
    if not golden or work.run.scope != EVERYTHING:
        return
    columns = {"id", work.contract.item_column}
    known = pa.concat_arrays([t[c].combine_chunks() for t in (items, published) for c in columns])
    wanted = pa.array(dict.fromkeys(item for one in golden for item in one.ids), pa.string())
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=known)))
    if len(unknown):
        raise UserMistake(
            f"golden queries want {len(unknown)} ids that the source does not offer and that are "
            f"not published: {unknown[0].as_py()!r}",
            item=str(work.run.collection.golden_file(work.space)),
            do="Correct the ids, or take them out.",
        )


def _declared(work: Work) -> list[GoldenQuery]:
    path = work.run.collection.golden_file(work.space)
    return read_golden(path, {work.spec.modality, *work.spec.queries}) if path else []
