"""A model's folder from the hub, whose files are what the hub says they are.

The hub's client resumes what broke off, has one process download for all, uses the proxies of the
environment, and shows bars on a terminal. It checks lengths, so contents are checked here.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from contextlib import suppress
from pathlib import Path

from commonspace.encoders.errors import INSTALL_HINT, EncoderError, EncoderNotFound, WeightsRefused
from commonspace.encoders.model_folder.digests import sha256_of

_DOWNLOADED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_NOT_DOWNLOADED = ("onnx/*", "openvino/*")
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
_OTHERWISE = (
    "Try again, copy the model to a folder and name that folder, "
    "or name a model in an installed package by `package:<module>`."
)


def download_folder(name: str, revision: str) -> Path:
    """The folder of a revision of a model; what is in the hub's cache is not downloaded again.

    Raises:
        EncoderNotFound: there is no such model or revision, or the hub cannot be reached.
        WeightsRefused: a file is not the one that the hub says it is; it has been removed.
        EncoderError: the hub's client is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ModuleNotFoundError as error:
        raise EncoderError(f"{error.name} is not installed", item=name, do=INSTALL_HINT) from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(_DOWNLOADED),
            ignore_patterns=list(_NOT_DOWNLOADED),
        )
    except HFValidationError as error:
        raise EncoderNotFound(
            "the hub has no names of this form", item=name, do="Name it <owner>/<model>."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        # The client looks for a copy where the hub refuses, and says that there is none.
        answer = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
        if not isinstance(answer, HfHubHTTPError):
            raise EncoderNotFound(
                "the hub cannot be reached, and this revision is not in its cache",
                item=name,
                retry=True,
                do=_OTHERWISE,
            ) from error
        status = answer.response.status_code
        raise EncoderNotFound(
            f"the hub answered {status} for revision {revision}",
            item=name,
            retry=status >= 500 or status == 429,
            do="Check the name and the revision, and that you may download the model.",
        ) from error
    except _transport_errors() as error:
        raise EncoderNotFound(
            f"the download from the hub broke off: {str(error) or type(error).__name__}",
            item=name,
            retry=True,
            do=_OTHERWISE,
        ) from error
    _require_contents(Path(folder), name)
    return Path(folder)


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the client's HTTP library raises; which one that is depends on the client's version."""
    errors: list[type[Exception]] = [OSError]
    for library in ("httpx2", "httpx"):
        with suppress(ModuleNotFoundError):
            errors.append(importlib.import_module(library).TransportError)
    return tuple(errors)


def _require_contents(folder: Path, name: str) -> None:
    """Check each file by the name of the blob that it links to: its sha256, or git's digest."""
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            continue
        blob = path.resolve()
        if _is_what_it_says(blob):
            continue
        blob.unlink(missing_ok=True)
        path.unlink()
        raise WeightsRefused(
            f"{path.relative_to(folder).as_posix()} is not the file that the hub names; it was "
            "removed from the hub's cache",
            item=name,
            retry=True,
            do="Try again, which downloads it again.",
        )


def _is_what_it_says(blob: Path) -> bool:
    if _SHA256.fullmatch(blob.name):
        return sha256_of(blob) == blob.name
    if _GIT_SHA1.fullmatch(blob.name):
        data = blob.read_bytes()
        # As git names an object.
        digest = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        return digest.hexdigest() == blob.name
    return True
