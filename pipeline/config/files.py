"""Finding collection files, and saying what is wrong with one: all of it, in words."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import (
    CollectionSection,
    GatesSection,
    RunSection,
    SourceSection,
    SpaceSection,
)
from commonspace.pipeline.errors import UserMistake, near


def load_collection(path: Path) -> Collection:
    """Read and check one collection file; every mistake in it is named at once.

    Raises UserMistake.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserMistake(f"cannot be read: {error.strerror}", item=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserMistake(f"is not valid TOML: {error}", item=str(path)) from error
    faults = [_unknown(["path"])] if "path" in document else []  # ours, not the file's
    try:
        collection = Collection.model_validate({**document, "path": path.resolve()})
    except ValidationError as error:
        faults += [_explain(fault) for fault in error.errors()]
    if faults:
        raise UserMistake("has mistakes:\n  " + "\n  ".join(faults), item=str(path))
    return collection


def collections_folder() -> Path:
    """The folder of collection files: COMMONSPACE_COLLECTIONS, or the default."""
    return Path(os.environ.get("COMMONSPACE_COLLECTIONS", "dags/collections"))


def warehouse_address() -> str:
    """Where releases are published: COMMONSPACE_WAREHOUSE, or the default."""
    return os.environ.get("COMMONSPACE_WAREHOUSE", "./warehouse")


def collection_files(folder: Path | None = None) -> list[Path]:
    """Every collection file of the folder, by name. Raises UserMistake where there is none."""
    folder = folder or collections_folder()
    if not folder.is_dir():
        raise UserMistake(
            "there is no such folder of collection files",
            item=str(folder),
            do="Set COMMONSPACE_COLLECTIONS to the folder of your TOML files.",
        )
    return sorted(folder.glob("*.toml"))


def find_collection(name: str, folder: Path | None = None) -> Collection:
    """The collection of that name, or the file at that path. Raises UserMistake."""
    if name.endswith(".toml"):
        return load_collection(Path(name))
    declared = [(declared_name(path), path) for path in collection_files(folder)]
    found = [path for known, path in declared if known == name]
    if len(found) > 1:
        raise UserMistake(
            f"two files declare the collection {name!r}: {', '.join(map(str, found))}",
            do="Rename one: each would delete what the other publishes.",
        )
    if found:
        return load_collection(found[0])
    names = [known for known, _ in declared]
    raise UserMistake(
        f"there is no collection {name!r} in {folder or collections_folder()}" + near(name, names),
        do="`commonspace show` lists what there is.",
    )


def declared_name(path: Path) -> str:
    """The name a file gives its collection, or the file's own where it gives none."""
    try:
        name = tomllib.loads(path.read_text(encoding="utf-8-sig"))["collection"]["name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return path.stem
    return str(name)


_MODELS: dict[str, type[BaseModel]] = {
    "collection": CollectionSection,
    "source": SourceSection,
    "space": SpaceSection,
    "gates": GatesSection,
    "run": RunSection,
}
_WANTED = {"tuple_type": "must be a list", "model_type": "must be a table of keys"}


def _key(where: Sequence[str | int]) -> str:
    return ".".join(f"[{p}]" if isinstance(p, int) else p for p in where).replace(".[", "[")


def _unknown(where: Sequence[str | int]) -> str:
    model = _MODELS.get(str(where[0]), Collection) if len(where) > 1 else Collection
    known = [name for name in model.model_fields if name != "path"]
    return f"{_key(where)}: unknown key" + near(str(where[-1]), known)


def _explain(fault: Any) -> str:
    where, given = fault["loc"], fault["input"]
    key = _key(where)
    if fault["type"] == "extra_forbidden":
        return _unknown(where)
    if fault["type"] == "missing":
        return f"{key}: is required"
    message = _WANTED.get(fault["type"], re.sub(r"^Value error, ", "", fault["msg"]))
    if where == ("space",) and fault["type"] == "tuple_type":
        message = "is written [[space]], once for each space"
    message = message[0].lower() + message[1:]
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{key or 'file'}: {message}{shown}"
