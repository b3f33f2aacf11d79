"""The demo: real texts and photos go through Airflow into tables that can be searched.

Airflow runs with its embedded defaults (SQLite, no server); each DAG runs once, by `dags test`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.cli import run_tables, tables
from commonspace.pipeline.cli.demo.picture import Found, draw_neighbours
from commonspace.pipeline.cli.demo.samples import (
    write_collection_files,
    write_photos,
    write_texts,
)
from commonspace.pipeline.cli.environment import CHECKOUT
from commonspace.pipeline.config.places import warehouse_address
from commonspace.pipeline.contract.layout import runs_folder
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.storage.store import open_store

DAGS = CHECKOUT / "dags"

QUERIES = (
    "group rows and take the mean of each group",
    "distance between two probability distributions",
)
PHOTO_QUERIES = (
    "coffee/crop-1-1.jpg",
    "chelsea/crop-0-2.jpg",
    "rocket/crop-1-2.jpg",
    "astronaut/crop-1-0.jpg",
)
NEIGHBOURS = 5


def run_demo(folder: Path, photos: Path | None) -> list[dict[str, Any]]:
    """Make the samples where they are missing, run both collections, search them.

    A second run finds everything done and encodes nothing.

    Args:
        folder: holds the samples, the warehouse and Airflow's files.
        photos: a folder of the user's own photos; samples of installed packages by default.

    Returns:
        the report of each space.

    Raises:
        CommonspaceError: a DAG failed, or a package with samples is not installed.
    """
    folder = folder.resolve()
    if not (DAGS / "commonspace_dags.py").exists():
        raise UserMistake(
            "the demo needs the DAGs of a checkout, and this is an installed package",
            do="Clone the repository and run `make demo` there.",
        )
    _print_title("1. Samples")
    photo_name = "photos" if photos is None else "my-photos"
    photo_folder = _prepare(folder, photos, photo_name)
    photo_space = f"{photo_name}/image"
    environment = _environment(folder)
    _print_title("2. Airflow: one DAG for each collection (SQLite, no server)")
    _airflow(folder, environment, "db", "migrate")
    for collection in ("docs", photo_name):
        _run_dag(folder, environment, collection)
    _print_title("3. The ledgers: every item of the source is accounted for")
    reports = [_latest_report(name) for name in ("docs", photo_name)]
    run_tables.reports(reports)
    _print_title("4. Searching")
    _search_texts()
    _search_photos(photo_space, photo_folder, folder / "neighbours.png")
    _print_next_steps(folder, photo_space)
    return reports


def _prepare(folder: Path, photos: Path | None, name: str) -> Path:
    """Write the samples that are missing and the collection files; the folder of photos."""
    if photos is not None and not photos.is_dir():
        raise UserMistake("there is no such folder of photos", item=str(photos))
    texts, crops = folder / "samples/docs.jsonl", folder / "samples/photos"
    if not texts.exists():
        _print_line(f"{write_texts(texts):,} texts from installed packages -> {texts}")
    if photos is None and not crops.exists():
        _print_line(f"{write_photos(crops):,} photos from installed packages -> {crops}")
    source = crops if photos is None else photos.resolve()
    files = folder / "collections"
    write_collection_files(files, name=name, photos=source)
    _print_line(f"collection files -> {files}")
    return source


def _environment(folder: Path) -> dict[str, str]:
    address = warehouse_address()
    in_bucket = f"{address.rstrip('/')}/demo"  # apart from the warehouse that is there
    overrides = {
        "COMMONSPACE_COLLECTIONS": str(folder / "collections"),
        "COMMONSPACE_WAREHOUSE": in_bucket if "://" in address else str(folder / "warehouse"),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow/airflow.db",
    }
    os.environ.update(overrides)
    return {**os.environ, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}


def _run_dag(folder: Path, environment: dict[str, str], collection: str) -> None:
    tables.console.print(f"   DAG {collection}")
    before = _reports(collection)
    output = _airflow(folder, environment, "dags", "test", collection)
    if _reports(collection) == before:
        reasons = re.findall(r"(?:AirflowFailException|StageFailed): (.*)", output)
        raise CommonspaceError(
            f"the DAG {collection} failed: {(reasons or ['its log says why'])[0]}",
            do=f"The complete log is {folder}/airflow/demo.log.",
        )


def _airflow(folder: Path, environment: dict[str, str], *command: str) -> str:
    """Run Airflow and return its output; the lines of the stages are printed as they come."""
    (folder / "airflow").mkdir(parents=True, exist_ok=True)
    log = folder / "airflow/demo.log"
    lines: list[str] = []
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            [sys.executable, "-m", "airflow", *command], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
        ) as child,
    ):  # fmt: skip
        for line in child.stdout or ():
            file.write(line)
            lines.append(line)
            message = re.search(r"commonspace \| (.*?)\s*(?:\[commonspace\].*)?$", line)
            if message:
                _print_line(message[1])
        code = child.wait()
    if code:
        sys.stderr.write("".join(lines[-15:]))
        raise CommonspaceError(
            f"airflow {' '.join(command)} ended with exit code {code}",
            do=f"The complete log is {log}.",
        )
    return "".join(lines)


def _reports(collection: str) -> dict[str, dict[str, Any]]:
    """The reports of the runs that have ended, by key; the latest is the last."""
    store = open_store(warehouse_address())
    keys = [key for key in store.list(runs_folder(collection)) if key.endswith("/report.json")]
    documents = {key: store.read(key) for key in keys}
    return {key: json.loads(data.to_pybytes()) for key, data in documents.items() if data}


def _latest_report(collection: str) -> dict[str, Any]:
    return list(_reports(collection).values())[-1]


def _search_texts() -> None:
    docs = open_space("docs/text")
    for query in QUERIES:
        tables.console.print(f'\n   commonspace search docs/text "{query}" -k 3')
        _print_hits(docs, docs.search(query, k=3))


def _search_photos(photo_space: str, folder: Path, picture: Path) -> None:
    photos = open_space(photo_space)
    ids = photos.to_arrow(["id"])["id"].to_pylist()
    asked = [item for item in PHOTO_QUERIES if item in ids] or sorted(ids)[: len(PHOTO_QUERIES)]
    found = []
    for item in asked:
        hits = photos.search(id=item, k=NEIGHBOURS)
        if item == asked[0]:
            tables.console.print(f"\n   commonspace search {photo_space} --id {item} -k 3")
            _print_hits(photos, hits.slice(0, 3))
        neighbours = [(folder / hit["id"], hit["similarity"]) for hit in hits.to_pylist()]
        found.append(Found(folder / item, neighbours))
    try:
        draw_neighbours(found, picture)
    except OSError as error:  # a format that Pillow reads by a plugin only
        _print_line(f"no picture of them: {error}")
    else:
        _print_line(f"{NEIGHBOURS} neighbours of {len(asked)} photos, as a picture -> {picture}")


def _print_hits(space: Space, rows: pa.Table) -> None:
    columns = [name for name in ("similarity", "id", "text") if name in rows.column_names]
    heading = {
        "space": space.name,
        "release": space.release.number,
        "encoder": space.spec.label,
        "trained": space.spec.trained,
    }
    tables.hits({**heading, "hits": rows.select(columns).to_pylist()})


def _print_next_steps(folder: Path, photo_space: str) -> None:
    _print_title("5. Where everything is, and what to do next")
    warehouse = warehouse_address()
    tables.console.print(
        f"   Parquet    {warehouse}/docs/text/v1/parts\n"
        f"   LanceDB    {warehouse}/lancedb\n"
        f"   Airflow    {folder}/airflow (log: demo.log)\n\n"
        f"   export COMMONSPACE_COLLECTIONS={folder}/collections\n"
        f"   export COMMONSPACE_WAREHOUSE={warehouse}\n"
        "   commonspace show\n"
        f"   commonspace verify {photo_space}\n\n"
        "   Run `make demo` again: nothing is encoded. Change one line of samples/docs.jsonl,\n"
        "   or add a photo: one item is encoded. Photos of your own: make demo PHOTOS=FOLDER\n",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _print_title(title: str) -> None:
    tables.console.print(f"\n[bold]{title}[/]")


def _print_line(message: str) -> None:
    tables.console.print(f"   {message}", highlight=False, markup=False, soft_wrap=True)
