"""Two collections that people look at: one is promoted by itself, and starts one that asks."""

from __future__ import annotations

import json
from pathlib import Path

COLLECTION = """
[collection]
name = "{name}"
owner = "search-team"
description = "Things that happened, told in one sentence each."
{more}
[source]
kind = "jsonl"
uri = "{name}.jsonl"
id = "id"
[[space]]
name = "text"
encoder = "hashed/64"
fields = ["text"]
[run]
shard_rows = 20
"""
ASKS = 'schedule_on = ["things/text/v1"]\npromote = "manual"\napprove_within = "1m"'


def write_collections(folder: Path) -> None:
    for name, more in {"things": "", "careful": ASKS}.items():
        (folder / f"{name}.toml").write_text(COLLECTION.format(name=name, more=more))
        write_items(folder, name)


def write_items(folder: Path, name: str, *, blank: int = 0) -> None:
    texts = [f"thing number {n} happened" for n in range(30)] + [""] * blank
    rows = [json.dumps({"id": f"i{n}", "text": text}) + "\n" for n, text in enumerate(texts)]
    (folder / f"{name}.jsonl").write_text("".join(rows))
