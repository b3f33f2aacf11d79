"""Two collections that people look at: one is promoted by itself, and starts one that asks."""

from __future__ import annotations

from pathlib import Path

from tests.support.collection_file import jsonl, write_collection

ASKS = {"schedule_on": ["things/text/v1"], "promote": "manual", "approve_within": "1m"}


def write_collections(folder: Path) -> None:
    for name, more in {"things": {}, "careful": ASKS}.items():
        about = {"owner": "search-team", "description": "Things that happened.", **more}
        write_collection(folder, items(), name=name, collection=about, run={"shard_rows": 20})


def items(*, blank: int = 0) -> list[dict[str, str]]:
    """Thirty events, and as many items without a text."""
    texts = [f"thing number {n} happened" for n in range(30)] + [""] * blank
    return [{"id": f"i{n}", "text": text} for n, text in enumerate(texts)]


def write_items(folder: Path, name: str, *, blank: int = 0) -> None:
    (folder / f"{name}.jsonl").write_bytes(jsonl(items(blank=blank)))
