from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, settings

from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.files import load_collection

# Our fixtures are folders and functions that every example may share; machines are shared too.
settings.register_profile(
    "commonspace",
    deadline=None,
    # How fast examples are drawn says something about the machine, not about our code.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("commonspace")

TEXT_SPACE = {"name": "text", "encoder": "hashed/64", "fields": ["text"]}


class MakeCollection(Protocol):
    """Writes a collection file (and its data) into a folder and loads it.

    rows: JSON objects, written as `<name>.jsonl`; the source is that file unless `source`
        says otherwise.
    source: keys of `[source]`; `kind`, `uri` and `id` have the defaults of the JSONL file.
    spaces: one mapping a `[[space]]`; one text space of `hashed/64` by default.
    files: other files to write, by their path below the folder.
    sections: other tables of the collection file: gates={...}, run={...}.
    Called again with the same name, it changes the collection in place.
    """

    def __call__(
        self,
        rows: Sequence[Mapping[str, Any]] | None = None,
        *,
        source: Mapping[str, Any] | None = None,
        spaces: Sequence[Mapping[str, Any]] = (TEXT_SPACE,),
        files: Mapping[str, bytes] | None = None,
        name: str = "things",
        folder: Path | None = None,
        **sections: Mapping[str, Any],
    ) -> Collection: ...


@pytest.fixture
def make_collection(tmp_path: Path) -> MakeCollection:
    def make(
        rows: Sequence[Mapping[str, Any]] | None = None,
        *,
        source: Mapping[str, Any] | None = None,
        spaces: Sequence[Mapping[str, Any]] = (TEXT_SPACE,),
        files: Mapping[str, bytes] | None = None,
        name: str = "things",
        folder: Path | None = None,
        **sections: Mapping[str, Any],
    ) -> Collection:
        folder = folder or tmp_path
        written = dict(files or {})
        if rows is not None:
            lines = [json.dumps(row) + "\n" for row in rows]
            written[f"{name}.jsonl"] = "".join(lines).encode()
        for path, data in written.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        known = {"kind": "jsonl", "uri": f"{name}.jsonl", "id": "id", **(source or {})}
        parts = [
            _table("[collection]", {"name": name, "owner": "tests"}),
            _table("[source]", known),
        ]
        parts += [_table("[[space]]", space) for space in spaces]
        parts += [_table(f"[{key}]", values) for key, values in sections.items()]
        file = folder / f"{name}.toml"
        file.write_text("\n".join(parts), encoding="utf-8")
        return load_collection(file)

    return make


@pytest.fixture(scope="session")
def naughty_strings(shared: Path) -> list[str]:
    """The 515 strings of the Big List of Naughty Strings."""
    path = shared / "data" / "hostile" / "strings" / "blns.json"
    return list(json.loads(path.read_text(encoding="utf-8")))


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
