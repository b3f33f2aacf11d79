"""Collection files of tests, and the data they point to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

TEXT_SPACE = {"name": "text", "encoder": "hashed/64", "fields": ["text"]}


def write_collection(
    folder: Path,
    items: Sequence[Mapping[str, Any]] | None = None,
    *,
    name: str = "things",
    source: Mapping[str, Any] | None = None,
    spaces: Sequence[Mapping[str, Any]] = (TEXT_SPACE,),
    files: Mapping[str, bytes] | None = None,
    **sections: Mapping[str, Any],
) -> Path:
    """Write `<name>.toml`, and what it reads, into a folder; the path of the file.

    Called again with the same name, it changes the collection in place.

    Args:
        folder: Where everything is written.
        items: JSON objects, written as `<name>.jsonl`.
        name: The collection's name.
        source: Keys of `[source]`; `kind`, `uri` and `id` are those of `<name>.jsonl` by default.
        spaces: One mapping for each `[[space]]`.
        files: Other files to write, by their path below the folder.
        sections: Further tables, by name: `gates={…}`, `run={…}`; `collection={…}` adds keys to
            `[collection]`. A key whose value is None is left out.
    """
    contents = dict(files or {})
    if items is not None:
        contents[f"{name}.jsonl"] = jsonl(items)
    for path, data in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    collection = {"name": name, "owner": "tests", **sections.pop("collection", {})}
    jsonl_source = {"kind": "jsonl", "uri": f"{name}.jsonl", "id": "id"}
    tables = [
        _table("[collection]", collection),
        _table("[source]", {**jsonl_source, **(source or {})}),
        *(_table("[[space]]", space) for space in spaces),
        *(_table(f"[{key}]", values) for key, values in sections.items()),
    ]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def jsonl(items: Iterable[Mapping[str, Any]]) -> bytes:
    """The items as lines of JSON."""
    return "".join(json.dumps(item) + "\n" for item in items).encode()


def _table(heading: str, values: Mapping[str, Any]) -> str:
    lines = [
        f"{_value(key)} = {_value(value)}\n" for key, value in values.items() if value is not None
    ]
    return heading + "\n" + "".join(lines)


def _value(value: Any) -> str:
    """A TOML value; JSON writes all but tables the same way."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_value(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
