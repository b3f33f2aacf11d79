"""Where the folder of a model lies: on disk, in a package, on the hub."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path

from commonspace.encoders.errors import INSTALL_HINT, EncoderError, EncoderNotFound
from commonspace.encoders.reference import EncoderReference

_COMMIT = re.compile(r"[0-9a-f]{40}")
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_UNWANTED = ("onnx/*", "openvino/*")


def find_model_folder(reference: EncoderReference) -> Path:
    """The model's folder, `modules.json` in it if it has one; fetched first if on the hub.

    Raises:
        EncoderNotFound: no such folder, package or revision, or the hub is out of reach.
        EncoderError: the hub's client is not installed.
    """
    name = reference.name
    if name.startswith("package:"):
        return _in_package(name.removeprefix("package:"))
    if Path(name).is_absolute():
        if not Path(name).is_dir():
            raise EncoderNotFound("no such folder", item=name)
        return Path(name)
    if not reference.revision or not _COMMIT.fullmatch(reference.revision):
        raise EncoderNotFound(
            f"revision is {reference.revision!r}, not a commit",
            item=name,
            do="Pin the model: set `revision` to the 40 hexadecimal digits of a commit. "
            "Branches and tags move, and vectors of two revisions cannot be compared.",
        )
    return _from_hub(name, reference.revision)


def _in_package(module: str) -> Path:
    # A dotted name would import its parents; the package's own code must not run here.
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise EncoderNotFound(
            "no such package is installed",
            item=f"package:{module}",
            do="Install it in this environment, or correct the name.",
        )
    roots = [Path(location) for location in spec.submodule_search_locations]
    found = sorted(path.parent for root in roots for path in root.rglob("modules.json"))
    if len(found) != 1:
        raise EncoderNotFound(
            f"the package holds {len(found)} model folders instead of one",
            item=f"package:{module}",
            do="Name the folder by its absolute path.",
        )
    return found[0]


@lru_cache
def _from_hub(name: str, revision: str) -> Path:
    try:
        from httpx import TransportError
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ModuleNotFoundError as error:
        raise EncoderError(f"{error.name} is not installed", item=name, do=INSTALL_HINT) from error
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(_WANTED),
            ignore_patterns=list(_UNWANTED),
        )
    except HFValidationError as error:
        raise EncoderNotFound("not a name the hub accepts", item=name) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise EncoderNotFound(
            f"the hub answered {status} for revision {revision}",
            item=name,
            retry=status >= 500 or status == 429,
            do="Check the name and the revision, and that the model is open to you.",
        ) from error
    except (LocalEntryNotFoundError, TransportError, OSError) as error:
        raise EncoderNotFound(
            "the hub cannot be reached, and this revision is not in its cache",
            item=name,
            retry=True,
            do="Try again, copy the model to a folder and name that, "
            "or use `package:<module>` for a model that comes as a package.",
        ) from error
    return Path(folder)
