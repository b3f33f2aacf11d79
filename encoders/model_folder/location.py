"""Where the folder of a model lies: on disk, in an installed package or on the hub."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from commonspace.encoders.errors import EncoderNotFound
from commonspace.encoders.reference import EncoderReference

_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_model_folder(reference: EncoderReference) -> Path:
    """The model's folder; a model on the hub is downloaded first.

    Raises:
        EncoderNotFound: there is no such folder, package or revision, or the hub cannot be reached.
        WeightsRefused: what the hub sent is another file than it says.
        EncoderError: the hub's client is not installed.
    """
    name = reference.name
    if name.startswith("package:"):
        return _find_in_package(name.removeprefix("package:"))
    if Path(name).is_absolute():
        if not Path(name).is_dir():
            raise EncoderNotFound(
                "there is no such folder", item=name, do="Correct the path of the encoder."
            )
        return Path(name)
    if not reference.revision or not _COMMIT.fullmatch(reference.revision):
        raise EncoderNotFound(
            f"the revision is {reference.revision!r}, which is not a commit",
            item=name,
            do="Pin the model: set `revision` to the 40 hexadecimal digits of a commit. "
            "Branches and tags move, and vectors of two revisions cannot be compared.",
        )
    return _download(name, reference.revision)


def package_folders(module: str) -> list[Path]:
    """The folders of an installed package, whose code is not run.

    Raises:
        EncoderNotFound: there is no such package.
    """
    # To find a dotted name imports its parents, but the package's own code must not run here.
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise EncoderNotFound(
            "there is no such package installed",
            item=f"package:{module}",
            do="Install it in this environment, or correct the name.",
        )
    return [Path(location) for location in spec.submodule_search_locations]


def _find_in_package(module: str) -> Path:
    roots = package_folders(module)
    folders = sorted(path.parent for root in roots for path in root.rglob("modules.json"))
    if len(folders) != 1:
        raise EncoderNotFound(
            f"the package holds {len(folders)} model folders instead of one",
            item=f"package:{module}",
            do="Name the folder by its absolute path.",
        )
    return folders[0]


@lru_cache
def _download(name: str, revision: str) -> Path:
    from commonspace.encoders.model_folder.hub import download_folder

    return download_folder(name, revision)
