"""What the reports of runs say of gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.warehouse import Warehouse

GATES = [
    "ledger", "vectors", "reject_share", "deleted_share", "bad_cells", "duplicate_vectors",
    "unknown_share", "drift", "golden", "spot_check", "canary",
]  # fmt: skip


def gate(report: Any, name: str) -> dict[str, Any]:
    return next(dict(one) for one in report["gates"] if one["name"] == name)


def refused(report: dict[str, Any], *names: str) -> str:
    """The first line of a refusal, which names exactly these gates."""
    assert report["error"] == "GateRefused", report
    said = str(report["what"]).partition("\n")[0]
    for name in GATES:
        assert (f"gate {name} refused" in said) == (name in names), said
    return said


def untouched(warehouse: Warehouse) -> dict[Path, bytes]:
    """All that readers are served from."""
    places = [*(warehouse.root / "things").rglob("*"), *(warehouse.root / "lancedb").rglob("*")]
    return {p: p.read_bytes() for p in places if p.is_file() and not p.name.startswith(".")}
