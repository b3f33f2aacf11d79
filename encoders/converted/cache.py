"""Keeps converted models on this machine, so that they load in two seconds instead of twenty.

    <cache>/models/<fingerprint>-<code>/   files with a `record`

`<cache>` is COMMONSPACE_CACHE, else `commonspace` in XDG_CACHE_HOME or in ~/.cache; `<code>` stands
for the code and the libraries that converted the model. The folders may be removed at any time;
those that have not been used for a month are removed.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from commonspace import encoders
from commonspace.encoders.errors import EncoderError
from commonspace.encoders.model_folder.cache_folder import cache_folder
from commonspace.encoders.spec import EncoderSpec

_LIBRARIES = (
    *("torch", "torchvision", "timm", "transformers", "sentence-transformers", "tokenizers"),
    "openvino",
)
_PART_PREFIX = ".part-"
_OUR_FOLDERS = re.compile(rf"[0-9a-f]{{32}}-[0-9a-f]{{16}}|{re.escape(_PART_PREFIX)}[0-9a-f]{{16}}")
"""Only folders of such names are removed: COMMONSPACE_CACHE may name one that has others, too."""
_MAX_PART_AGE = 3600.0
"""Seconds after which an unfinished folder is removed: a killed process has left it."""
_MAX_UNUSED_AGE = 30 * 24 * 3600.0
"""Seconds without use after which a model is removed."""

Loaded = TypeVar("Loaded")
_log = logging.getLogger(__name__)


def find_cached(spec: EncoderSpec) -> Path | None:
    """The folder of the converted model of `spec`, if this code and these libraries wrote one."""
    models = _models_folder()
    try:
        if models is None or not (models / _name(spec)).is_dir():
            return None
    except OSError as error:
        _warn_that_nothing_is_kept(str(error))
        return None
    with suppress(OSError):  # the folder may be another user's
        os.utime(models / _name(spec))
    return models / _name(spec)


def load_cached(spec: EncoderSpec, load: Callable[[Path], Loaded]) -> Loaded | None:
    """What `load` makes of the folder of the converted model of `spec`; None where there is none.

    A folder for which it raises ValueError or FileNotFoundError is damaged, and removed.
    """
    folder = find_cached(spec)
    if folder is None:
        return None
    try:
        return load(folder)
    except (ValueError, FileNotFoundError) as error:
        _log.warning("the model in %s is damaged (%s) and is converted again", folder, error)
        remove_cached(folder)
    except OSError as error:
        _log.warning("the model in %s cannot be read (%s) and is converted again", folder, error)
    return None


def remove_cached(folder: Path) -> None:
    """Remove a folder that `find_cached` returned, because it is damaged."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_model_folder(spec: EncoderSpec, write: Callable[[Path], None]) -> Iterator[Path]:
    """A new folder with the converted model of `spec`, kept in the cache if the block succeeds.

    Where nothing can be kept, a warning is logged, and the folder is a temporary one.

    Args:
        spec: of the encoder.
        write: writes the model into a folder, or raises OSError.

    Raises:
        EncoderError: it cannot be written anywhere.
    """
    models = _models_folder()
    folder = (models and _written_to_cache(models, write)) or _written_to_temporary(spec, write)
    try:
        yield folder
        if folder.parent == models:
            _keep(folder, models / _name(spec))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written_to_cache(models: Path, write: Callable[[Path], None]) -> Path | None:
    """A new folder in the cache, or None where the model cannot be written there."""
    folder = models / f"{_PART_PREFIX}{secrets.token_hex(8)}"
    try:
        models.mkdir(parents=True, exist_ok=True)
        _remove_unused(models)
        folder.mkdir()  # with the usual permissions, unlike a temporary folder
        write(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        _warn_that_nothing_is_kept(str(error))
        return None
    return folder


def _written_to_temporary(spec: EncoderSpec, write: Callable[[Path], None]) -> Path:
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="commonspace-"))
        write(folder)
    except OSError as error:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        raise EncoderError(
            f"the converted model cannot be written: {error}",
            item=spec.label,
            do="Free some space on the disk, or set COMMONSPACE_CACHE to another folder.",
        ) from error
    return folder


def _keep(folder: Path, target: Path) -> None:
    """Rename the folder to its final name, unless another process was first."""
    try:
        folder.rename(target)
    except OSError as error:
        if not target.is_dir():
            _warn_that_nothing_is_kept(str(error))


def _remove_unused(models: Path) -> None:
    """Remove models that were not used for long, and what killed processes have left."""
    for path in (path for path in models.iterdir() if _OUR_FOLDERS.fullmatch(path.name)):
        max_age = _MAX_PART_AGE if path.name.startswith(_PART_PREFIX) else _MAX_UNUSED_AGE
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > max_age:
                shutil.rmtree(path, ignore_errors=True)


def _models_folder() -> Path | None:
    """The cache's folder of models; None where the user has no home folder for it."""
    folder = cache_folder()
    if folder is None:
        _warn_that_nothing_is_kept("there is no home folder")
        return None
    return folder / "models"


def _name(spec: EncoderSpec) -> str:
    """The name of a model's folder: what it converts, and what converts it."""
    return f"{spec.fingerprint[:32]}-{_code_digest()}"


@functools.cache
def _code_digest() -> str:
    """16 hex digits over the versions of the libraries and over all code of the encoders."""
    digest = hashlib.sha256()
    for package in _LIBRARIES:
        try:
            digest.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"{package} missing\n".encode())
    root = Path(encoders.__path__[0])
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _warn_that_nothing_is_kept(reason: str) -> None:
    _log.warning(
        "the converted model cannot be kept (%s), so every process converts it again, which takes "
        "about twenty seconds. Set COMMONSPACE_CACHE to a folder that can be written to.",
        reason,
    )
