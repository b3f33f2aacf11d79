"""The record of a folder of files: what they are read with, and the digest of each.

record.json     the values, `files` with their sha256, and the `sha256` of all that
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonspace.encoders.model_folder.digests import sha256_of

RECORD = "record.json"


def write_record(folder: Path, values: Mapping[str, Any]) -> None:
    """Record the values, and the files that the folder holds by now.

    Raises:
        OSError: a file cannot be read or written.
    """
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    record: dict[str, Any] = {**values, "files": files}
    record["sha256"] = _digest(record)
    text = json.dumps(record, indent=1, sort_keys=True)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """The values that were recorded; all files are checked.

    Raises:
        ValueError: the folder does not hold what was written.
        OSError: a file cannot be read.
    """
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    try:
        if record.pop("sha256") != _digest(record):
            raise ValueError("its record is not the one that was written")
        files: dict[str, str] = record.pop("files")
        for name, digest in files.items():
            if sha256_of(folder / name) != digest:
                raise ValueError(f"{name} is not the file that was written")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its record has missing or further keys: {error}") from error
    return dict(record)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
