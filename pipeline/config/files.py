"""Find and load collection files; every mistake in a file is reported, in words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.places import collections_folder
from commonspace.pipeline.config.sections import (
    CollectionSection,
    GatesSection,
    LimitsSection,
    RunSection,
    SourceSection,
    SpaceSection,
)
from commonspace.pipeline.config.toml_file import read_toml, values_beyond_toml
from commonspace.pipeline.errors import UserMistake, did_you_mean


def load_collection(path: Path) -> Collection:
    """Read and validate one collection file.

    Raises:
        UserMistake: the file cannot be read, is not TOML, or has mistakes; all are named at once.
    """
    document = read_toml(path)
    _refuse(path, [f"{_key(place)}: {what}" for place, what in values_beyond_toml(document)])
    # `path` is a field of Collection, but no key of the file.
    mistakes: list[str | ErrorDetails] = [_unknown_key(["path"])] if "path" in document else []
    try:
        collection = Collection.model_validate({**document, "path": path.resolve()})
    except ValidationError as error:
        mistakes += error.errors()
    _refuse(path, mistakes)
    return collection


def collection_files(folder: Path | None = None) -> list[Path]:
    """Every collection file of the folder, sorted by path.

    Raises:
        UserMistake: there is no such folder.
    """
    folder = folder or collections_folder()
    if not folder.is_dir():
        raise UserMistake(
            "is a file, not the folder of collection files"
            if folder.exists()
            else "there is no such folder of collection files",
            item=str(folder),
            do="Set COMMONSPACE_COLLECTIONS to the folder of your TOML files.",
        )
    return sorted(folder.glob("*.toml"))


def find_collection(name: str, folder: Path | None = None) -> Collection:
    """The collection of that name, or the one in the file at that path.

    Args:
        name: a collection's name, or a path that ends in `.toml`.
        folder: where to look for the name; by default `collections_folder()`.

    Raises:
        UserMistake: no file or more than one declares the name, or the file has mistakes.
    """
    if name.endswith(".toml"):
        return load_collection(Path(name))
    declared = [(declared_name(path), path) for path in collection_files(folder)]
    matches = [path for declared_as, path in declared if declared_as == name]
    if len(matches) > 1:
        raise UserMistake(
            f"two files declare the collection {name!r}: {', '.join(map(str, matches))}",
            do="Rename one: each would delete what the other publishes.",
        )
    if matches:
        return load_collection(matches[0])
    names = [declared_as for declared_as, _ in declared]
    raise UserMistake(
        f"there is no collection {name!r} in {folder or collections_folder()}"
        + did_you_mean(name, names),
        do=f"`commonspace init {shlex.quote(name)}` writes a collection file for this data."
        if Path(name).exists()
        else "`commonspace show` lists the collections.",
    )


def declared_name(path: Path) -> str:
    """The name that a file gives its collection, or the file's stem where it gives none."""
    try:
        name = read_toml(path)["collection"]["name"]
    except (UserMistake, KeyError, TypeError):
        return path.stem
    return name if isinstance(name, str) else path.stem


_SECTIONS: dict[str, type[BaseModel]] = {
    "collection": CollectionSection,
    "source": SourceSection,
    "space": SpaceSection,
    "gates": GatesSection,
    "limits": LimitsSection,
    "run": RunSection,
}
_SHOWN_MISTAKES = 50
_LONGEST_VALUE = 100
"""Characters of a value or a key that a message shows."""
_MESSAGES = {"tuple_type": "must be a list", "model_type": "must be a table of keys"}


def _refuse(path: Path, mistakes: Sequence[str | ErrorDetails]) -> None:
    """Raise UserMistake where there is a mistake."""
    if not mistakes:
        return
    shown = [m if isinstance(m, str) else _explain(m) for m in mistakes[:_SHOWN_MISTAKES]]
    more = len(mistakes) - len(shown)
    shown += [f"and {more:,} more"] if more else []
    raise UserMistake("has mistakes:\n  " + "\n  ".join(shown), item=str(path))


def _key(location: Sequence[str | int]) -> str:
    """`space[0].name`: the place of a mistake as a person would write it."""
    parts = [f"[{part}]" if isinstance(part, int) else _name(part) for part in location]
    return ".".join(parts).replace(".[", "[")


def _name(key: str) -> str:
    """A key, or its start, on one line."""
    return _cut(key if key.isprintable() else repr(key))


def _cut(text: str, length: int = _LONGEST_VALUE) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _unknown_key(location: Sequence[str | int]) -> str:
    model = _SECTIONS.get(str(location[0]), Collection) if len(location) > 1 else Collection
    known = [name for name in model.model_fields if name != "path"]
    return f"{_key(location)}: unknown key" + did_you_mean(str(location[-1]), known)


def _explain(details: ErrorDetails) -> str:
    """One mistake that pydantic found, in words."""
    location, given, kind = details["loc"], details["input"], details["type"]
    key = _key(location)
    if kind == "extra_forbidden":
        return _unknown_key(location)
    if kind == "missing":
        return f"{key}: is required"
    message = _MESSAGES.get(kind, _cut(re.sub(r"^Value error, ", "", details["msg"]), 1000))
    if location == ("space",) and kind == "tuple_type":
        message = "is written [[space]], once for each space"
    message = message[0].lower() + message[1:]
    shown = f", not {_cut(repr(given))}" if isinstance(given, str | int | float | bool) else ""
    return f"{key or 'file'}: {message}{shown}"
