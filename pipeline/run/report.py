"""What a run did to a space: the draft of its manifest, and its report for people."""

from __future__ import annotations

import json
from typing import Any

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.memory import peak_rss
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.run.markdown import report_text
from commonspace.pipeline.workspace.work import Work, encode_notes


def report_stage(work: Work) -> dict[str, Any]:
    """What the run did to the space, gathered from what its stages left behind."""
    store, planned = work.run.store, work.read_note("plan.json")
    verdict, published = work.read_note("verdict.json"), work.read_note("publish.json")
    promoted = store.read(work.path("promote.json"))
    promotion = json.loads(promoted.to_pybytes()) if promoted is not None else {}
    encodes = [work.read_note(file) for file in encode_notes(work)]
    seconds = sum(e["seconds"] for e in encodes)
    release = load_release(store, work.name, published["release"])
    pulled, pointer = work.run.read_note(), load_current(store, work.name)
    report = {
        "collection": work.run.collection.name,
        "space": work.space.name,
        "version": work.space.version,
        "encoder": work.spec.label,
        "trained": work.spec.trained,
        "fingerprint": work.spec.fingerprint,
        "run": work.run.id,
        "whole_scope": work.run.scope.ids is None,
        "release": release.number,
        "rows": release.rows,
        "promoted": bool(promotion.get("promoted", False)),
        "state": _state(pointer, release.number, promotion),
        "held": pointer.held if pointer else None,
        "ledger": verdict["ledger"],
        "rejects_by_reason": (release.rejects or {}).get("by_reason", {}),
        "rejects": (release.rejects or {}).get("key"),
        "gates": [*verdict["gates"], *_index_gate(pointer, release.number)],
        "items_per_second": sum(e["items"] for e in encodes) / seconds if seconds else None,
        "seconds": {
            "pull": pulled["seconds"],
            "plan": planned["seconds"],
            "encode": seconds,
            "validate": verdict["seconds"],
            "publish": published["seconds"],
            "index": promotion.get("seconds"),
        },
        "shards": {"planned": len(planned["shards"]), "encoded": len(encodes)},
        "device": encodes[0]["device"] if encodes else None,
        "engine": encodes[0]["engine"] if encodes else None,
        "peak_rss_bytes": max([peak_rss(), *(e["peak_rss_bytes"] for e in encodes)]),
    }
    work.write_note("report.json", report)
    store.put(work.path("report.md"), report_text(report).encode())
    return report


def refusal(work: Work, error: CommonspaceError) -> dict[str, Any]:
    """The report of a space that the run has not brought to its source; kept where a gate refused.

    It has `error`, and of a gate's refusal `gates` and, where items were counted, `ledger`.
    """
    what = error.what if not error.item else f"{error.item}: {error.what}"
    report = {
        "collection": work.run.collection.name,
        "space": work.space.name,
        "version": work.space.version,
        "run": work.run.id,
        **error.to_json(),
        "what": what,
    }
    if isinstance(error, GateRefused):
        verdict = work.read_note("verdict.json") if work.has("verdict.json") else {}
        here = {gate["name"] for gate in error.gates}
        held = [gate for gate in verdict.get("gates", ()) if gate["name"] not in here]
        report |= {"gates": [*held, *error.gates], "ledger": verdict.get("ledger")}
        work.write_note("refusal.json", report)  # no report.json: tried again, it may still end
    return report


def _state(pointer: Current | None, number: int, promotion: dict[str, Any]) -> str:
    """`promoted` by this run, `unchanged` since an earlier one, or a `candidate` yet."""
    if promotion.get("promoted"):
        return "promoted"
    return "unchanged" if pointer and pointer.release == number else "candidate"


def _index_gate(pointer: Current | None, number: int) -> list[dict[str, Any]]:
    """The gate over the vector index, where the release is served and has one."""
    indices = pointer.indices if pointer and pointer.release == number else None
    return [indices.vector.to_gate()] if indices and indices.vector else []
