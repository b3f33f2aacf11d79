"""Samples for the demo: real texts and real photos that installed packages carry.

Nothing is downloaded and nothing is made up: the texts are the documentation of the
scientific Python libraries, the photos are those that scikit-image and scikit-learn ship,
each whole and in overlapping crops, so that a crop can find its own photo again.
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
SHORTEST = 80
"""Characters: anything shorter says too little to be searched for."""

PHOTOS = {
    "skimage/data": (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
        "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
        "motorcycle_left.png", "retina.jpg", "rocket.jpg",
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}  # fmt: skip
LONGEST_SIDE = 320


def write_texts(path: Path) -> int:
    """Documentation of public functions and classes as JSON lines; returns how many.

    Each line: `id` (the dotted name), `library`, `text` (up to the list of parameters). The
    same installation gives the same file.
    """
    texts = {name: (library, text) for library in LIBRARIES for name, text in _documented(library)}
    chosen = sorted(sorted(texts, key=lambda n: hashlib.sha256(n.encode()).digest())[:TEXTS])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    with beside.open("w", encoding="utf-8") as file:
        for name in chosen:
            library, text = texts[name]
            file.write(json.dumps({"id": name, "library": library, "text": text}) + "\n")
    beside.rename(path)
    return len(chosen)


def write_photos(folder: Path) -> int:
    """Photos, whole and as overlapping crops, as JPEG files; returns how many."""
    from PIL import Image

    count = 0
    beside = folder.with_suffix(".part")
    shutil.rmtree(beside, ignore_errors=True)
    for place, names in PHOTOS.items():
        for name in names:
            with Image.open(_installed(place) / name) as opened:
                photo = opened.convert("RGB")
            target = beside / Path(name).stem
            target.mkdir(parents=True, exist_ok=True)
            for label, box in _boxes(*photo.size):
                crop = photo.crop(box)
                crop.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                crop.save(target / f"{label}.jpg", quality=90)
                count += 1
    beside.rename(folder)
    return count


def _documented(library: str) -> Iterator[tuple[str, str]]:
    root = _installed(library)
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
        if len(prose) >= SHORTEST:
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


def _installed(place: str) -> Path:
    package, _, rest = place.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise UserMistake(
            f"the demo takes its samples from {package}, which is not installed",
            do='In a checkout of commonspace: pip install ".[demo]".',
        )
    return Path(spec.origin).parent / rest
