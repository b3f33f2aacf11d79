"""A draft as the text of a collection file, with comments on what was seen and what is not sure."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.init.draft import Draft, SpaceDraft
from commonspace.pipeline.init.toml_text import (
    comment,
    comments,
    is_writable,
    shown,
    toml_key,
    toml_value,
)
from commonspace.pipeline.source.files import PLACEHOLDER

_IDS = {
    "content": (
        "A changed text is another item, and equal ones are one. `row` makes ids of the number of\n"
        "the row, which move where rows come and go before it."
    ),
    "row": (
        "The ids of later rows move where one comes or goes before them. `content` makes ids that\n"
        "stay with their content; equal ones are then one item."
    ),
}


def collection_text(draft: Draft, folder: Path) -> str:
    """The file as it is written into a folder, which paths below it are relative to.

    Raises:
        UserMistake: TOML cannot hold the name of a file.
    """
    uri = draft.source["uri"]
    if not is_writable(uri):
        raise UserMistake("its name is not valid Unicode", item=shown(uri), do="Rename it.")
    source = {**draft.source, "uri": _relative(uri, folder)}
    metadata = source.pop("metadata", {})
    head = comment(f"Written by `commonspace init` for {uri}\nIt saw:") + comments(draft.seen)
    if draft.doubts:
        head += comment("It is NOT SURE of:") + comments(draft.doubts)
    head += comment("docs/collections.md says what each key means, and lists all others.")
    sections = [
        head,
        "[collection]\n" + _lines({"name": draft.name, "owner": draft.owner})
        + comment('schedule = "@daily"  # for Airflow; without it, runs are started by hand'),
        "[source]\n" + _source(source, draft.id_remark),
    ]  # fmt: skip
    if metadata:
        remark = "Columns that are published beside the vectors, and their types."
        sections.append(f"[source.metadata]\n{comment(remark)}{_lines(metadata)}")
    sections += map(_space, draft.spaces)
    if PLACEHOLDER in uri:
        sections[1] += comment(
            'partitions = "day"  # with that schedule, a run processes one of them'
        )
    gates = comment("[gates]\nmax_reject_share = 0.01  # of the items; a run with more is refused")
    return "\n".join([*sections, gates])


def _source(source: Mapping[str, Any], id_remark: str) -> str:
    lines = ""
    for key, value in source.items():
        if key in ("id", "generate_id") and id_remark:
            lines += comment(id_remark[0].upper() + id_remark[1:] + ".")
        if key == "generate_id":
            lines += comment(_IDS[value])
        lines += _lines({key: value})
    return lines


def _space(space: SpaceDraft) -> str:
    reason, *options = space.remarks
    first, *others = _lines(space.settings).splitlines(keepends=True)
    return (
        "[[space]]\n" + first + comment(reason) + "".join(others) + "".join(map(comment, options))
    )


def _lines(values: Mapping[str, Any]) -> str:
    return "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in values.items())


def _relative(uri: str, folder: Path) -> str:
    """The escaped path or glob, relative to the folder where it lies below that."""
    above = f"{glob.escape(str(folder)).rstrip('/')}/"
    if not uri.startswith(above):
        return uri
    relative = uri.removeprefix(above)
    return f"./{relative}" if relative.startswith("~") else relative
