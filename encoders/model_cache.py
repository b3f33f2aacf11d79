"""Converted models on this machine: made once, then loaded in a second instead of twenty.

    <cache>/models/<fingerprint>-<made by>/   a folder of `converted_model`

`<cache>` is COMMONSPACE_CACHE, else `commonspace` in XDG_CACHE_HOME or in ~/.cache. Everything
there can be removed at any time.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from encoders.spec import EncoderSpec

_MAKERS = ("torch", "transformers", "sentence-transformers", "tokenizers", "openvino")
_PART = ".part-"
_FORGOTTEN = 24 * 3600.0
"""Seconds after which an unfinished folder is nobody's any more."""

_log = logging.getLogger(__name__)


def cached(spec: EncoderSpec) -> Path | None:
    """Where the converted model of `spec` lies, if this code and these libraries made one."""
    models = _models()
    place = models / _name(spec) if models else None
    return place if place and place.is_dir() else None


def forget(folder: Path) -> None:
    """Remove a folder that `cached` named, and that does not hold what was written."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def room(spec: EncoderSpec) -> Iterator[Path]:
    """An empty folder for the converted model of `spec`; kept in the cache if no error comes.

    Where nothing can be kept, a warning says so, and the folder is gone at the end.
    """
    models = _models()
    try:
        if models:
            models.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PART, dir=models))
    except OSError as error:
        _warn(str(error))
        models, folder = None, Path(tempfile.mkdtemp(prefix="commonspace-"))
    try:
        yield folder
        if models:
            _keep(folder, models / _name(spec))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, place: Path) -> None:
    """Move the folder to its place, where a twin may be first; then remove what it replaces."""
    try:
        folder.rename(place)
    except OSError as error:
        if not place.is_dir():
            _warn(str(error))
        return
    fingerprint = place.name.partition("-")[0]
    for other in place.parent.iterdir():
        stale = other.name.startswith(f"{fingerprint}-") and other != place
        if stale or (other.name.startswith(_PART) and _age(other) > _FORGOTTEN):
            shutil.rmtree(other, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0


def _models() -> Path | None:
    """The cache's folder of models; None where there is no home to have one in."""
    named = os.environ.get("COMMONSPACE_CACHE")
    if named:
        return Path(named).absolute() / "models"
    above = os.environ.get("XDG_CACHE_HOME") or ""
    try:
        return (Path(above) if above else Path.home() / ".cache") / "commonspace" / "models"
    except RuntimeError as error:
        _warn(str(error))
        return None


def _name(spec: EncoderSpec) -> str:
    """What decides the files: the spec, and by `_made_by` what converts."""
    return f"{spec.fingerprint[:32]}-{_made_by()}"


@functools.cache
def _made_by() -> str:
    """16 hex digits over the versions of the libraries and over this package's own code."""
    digest = hashlib.sha256()
    for package in _MAKERS:
        try:
            digest.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"{package} missing\n".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _warn(why: str) -> None:
    _log.warning(
        "the converted model cannot be kept (%s): every process converts it again, in some "
        "twenty seconds. COMMONSPACE_CACHE names a folder for it.",
        why,
    )
