"""The publish stage: what a run has encoded becomes an immutable, numbered release.

Files are named by their content and manifests are put if absent, so the stage can be interrupted
anywhere and run again: it finds what it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commonspace.pipeline.canary.reference import publish_canary
from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.contract.recipe import Recipe
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.plan.offer.offer import read_offer_rejects
from commonspace.pipeline.plan.offer.transient import transient_failures, transient_reasons
from commonspace.pipeline.plan.plan import Plan
from commonspace.pipeline.plan.plan_file import read_plan
from commonspace.pipeline.plan.stage import tells_recipe
from commonspace.pipeline.publish.collect import NewRows, collect_rows
from commonspace.pipeline.publish.draft import describe_space, draft_release, state_digest
from commonspace.pipeline.publish.notes import PublishNote
from commonspace.pipeline.publish.parts import Change, write_parts
from commonspace.pipeline.publish.rejects import release_reject_rows, write_rejects
from commonspace.pipeline.pull.items import read_offered_items
from commonspace.pipeline.release.commit import commit
from commonspace.pipeline.release.contract_check import record_recipe, require_same_contract
from commonspace.pipeline.release.manifest import Part, Release
from commonspace.pipeline.release.parts import published_rows
from commonspace.pipeline.release.rejects import read_rejects
from commonspace.pipeline.source.records import EVERYTHING
from commonspace.pipeline.validate.verdict import Verdict
from commonspace.pipeline.workspace.notes import PlanSummary
from commonspace.pipeline.workspace.work import Work, timer


def publish_stage(work: Work) -> Release:
    """Write the next release, as a candidate.

    Returns:
        the release; the one that the plan was made from where nothing changed.

    Raises:
        GateRefused: a gate has refused the run.
        ContractBroken: the space was published under another contract, or a file is damaged.
        Conflict: another run has published meanwhile.
    """
    verdict = work.read_note(Verdict)
    verdict.enforce(str(work.name))
    require_same_contract(work.run.store, work.name, work.contract, work.base)
    with timer() as seconds:
        files = _write_files(work, verdict)
        if work.base and work.base.state == files.state:
            release = work.base
            if files.recipe:  # readers see it already
                record_recipe(work.run.store, work.name, files.recipe)
        else:
            release = _commit(work, verdict, files)
    work.write_note(PublishNote(release=release.number, seconds=seconds()))
    return release


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What the next release consists of, written but not committed yet."""

    parts: tuple[Part, ...]
    rejects: Mapping[str, Any] | None
    state: str
    published: pa.Table
    """`published_rows` of the base."""
    change: Change
    recipe: Recipe | None
    """What each row of the release is made of, where the run knows that."""


def _write_files(work: Work, verdict: Verdict) -> _Files:
    store, base, plan = work.run.store, work.base, read_plan(work)
    new = _collect_new_rows(work, plan)
    _require_validated(work, verdict, plan, failed=len(new.failures))
    published = published_rows(store, base, work.contract)
    failures = transient_failures(new.failures, transient_reasons(work), published["id"])
    permanent = [item for item, failure in failures.items() if not failure.retryable]
    change = Change(new, [*plan.rows("delete", "reject")["id"].to_pylist(), *permanent])
    parts = write_parts(
        store, work.name, work.contract,
        parts=base.parts if base else (), published=published, change=change,
    )  # fmt: skip
    old_rejects = read_rejects(store, base)
    reject_rows = release_reject_rows(
        work, plan, failures,
        before_encoding=read_offer_rejects(work), base_rejects=old_rejects,
    )  # fmt: skip
    rejects = write_rejects(
        store, work.name, reject_rows, old_rejects, is_changed=not base or parts != base.parts
    )
    state = state_digest(parts, rejects, {**describe_space(work), **_changed_columns(work)})
    staying = [item for item, failure in failures.items() if failure.retryable]
    stays_unread = pc.any(pc.is_in(published["id"], pa.array(staying, pa.string()))).as_py()
    knows_all = work.run.scope == EVERYTHING and tells_recipe(plan, published) and not stays_unread
    return _Files(
        parts=parts,
        rejects=rejects,
        state=state,
        published=published,
        change=change,
        recipe=work.contract.recipe if knows_all else None,
    )


def _collect_new_rows(work: Work, plan: Plan) -> NewRows:
    columns = [*work.contract.metadata, "partition", "source_uri", "row_digest"]
    items, _ = read_offered_items(work, columns)
    return collect_rows(
        work.run.store, work.contract,
        plan=plan, items=items, base=work.base, shards=work.shard_files,
    )  # fmt: skip


def _changed_columns(work: Work) -> dict[str, Any]:
    """The release's columns; nothing where they are those of the first one.

    A release from before columns could change has the same state as one that has not changed them.
    """
    columns, first = dict(work.contract.metadata), load_contract(work.run.store, work.name)
    return {} if first is None or columns == first.metadata else {"columns": columns}


def _require_validated(work: Work, verdict: Verdict, plan: Plan, *, failed: int) -> None:
    """What is about to be published must be what the gates have seen."""
    rejected = failed + plan.count("reject") + work.read_note(PlanSummary).rejected_by_pull
    if rejected != verdict.ledger.rejected:
        raise Conflict(
            f"{verdict.ledger.rejected} rejects were validated, but {rejected} would be published"
        )


def _commit(work: Work, verdict: Verdict, files: _Files) -> Release:
    store, base = work.run.store, work.base
    store.put_if_absent(spec_key(work.name), work.contract.to_bytes())
    # Another run may have been first.
    require_same_contract(store, work.name, work.contract, base)
    stored = load_contract(store, work.name)
    canary = base.canary if base else None
    draft = draft_release(
        work,
        verdict,
        parts=files.parts,
        rejects=files.rejects,
        changes=files.change.counts(files.published),
        state=files.state,
        recipe=(stored.recipe if stored else None) or files.recipe,
        canary=canary or publish_canary(store, work.name, work.contract),
    )
    return commit(store, work.name, draft)
