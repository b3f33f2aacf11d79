"""Edits of a JSON document, as another program or a hand makes them: systematic, every place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from commonspace.pipeline.release.manifest import canonical_digest

NO_DOCUMENTS = [
    b"", b" ", b"{", b"\xff", b"\0", b"null", b"1", b"true", b'"x"', b"[]", b"[1]", b"{}", b"NaN",
    b"[" * 100_000, b'{"sha256": 1}', b'{"a": ' * 100_000,
]  # fmt: skip
"""Whole files; the directory in their place is left to the test."""
WRONG_VALUES = [
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "../../x",
    "/etc/x",
    "a\0",
    [],
    ["x"],
    {},
    {"x": 1},
]
Place = tuple[str | int, ...]


def edits(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Each edit of a document with a name; its checksum, where it has one, is that of the edit.

    Places take turns with a third of the wrong values each.
    """
    document = json.loads(data)
    for number, other in enumerate(NO_DOCUMENTS):
        yield f"file {number}", other
    yield "unknown key", _written({**document, "unknown": 1})
    for turn, place in enumerate(_places(document)):
        if place == ("sha256",):
            continue
        yield f"{place} gone", _written(_changed(document, place))
        for wrong in WRONG_VALUES[turn % 3 :: 3]:
            yield f"{place} = {wrong!r}", _written(_changed(document, place, wrong))


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Every place of the document but its root; of a list, its first element."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value[:1]) if isinstance(value, list) else inner
    for key, each in inner:
        yield (*place, key)
        yield from _places(each, (*place, key))


def _changed(document: Any, place: Place, *new: Any) -> Any:
    """A copy with another value in the place, or without any."""
    changed = copy.deepcopy(document)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    if new:
        inner[place[-1]] = new[0]
    else:
        del inner[place[-1]]
    return changed


def _written(document: Any) -> bytes:
    if "sha256" in document:
        document = {key: value for key, value in document.items() if key != "sha256"}
        document["sha256"] = canonical_digest(document)
    return json.dumps(document).encode()
