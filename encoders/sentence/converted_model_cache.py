"""Converted models on this machine: made once, then loaded in two seconds instead of twenty.

    <cache>/models/<fingerprint>-<made by>/   a folder of `converted_model`

`<cache>` is COMMONSPACE_CACHE, else `commonspace` in XDG_CACHE_HOME or in ~/.cache. Such folders
can be removed at any time; what nobody has used for a month is.
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

from commonspace import encoders
from commonspace.encoders.errors import EncoderError
from commonspace.encoders.spec import EncoderSpec

_MAKERS = ("torch", "transformers", "sentence-transformers", "tokenizers", "openvino")
_PART = ".part-"
_OURS = re.compile(rf"[0-9a-f]{{32}}-[0-9a-f]{{16}}|{re.escape(_PART)}[0-9a-f]{{16}}")
"""Only what is called so is ever removed: COMMONSPACE_CACHE may name a folder with other things."""
_HOUR = 3600.0
_UNUSED = 30 * 24 * _HOUR
"""Seconds without use after which a model is removed: of another spec, library or checkout."""

_log = logging.getLogger(__name__)


def find_cached(spec: EncoderSpec) -> Path | None:
    """Where the converted model of `spec` lies, if this code and these libraries made one."""
    models = _models()
    try:
        if models is None or not (models / _name(spec)).is_dir():
            return None
    except OSError as error:
        _warn(str(error))
        return None
    with suppress(OSError):  # another user's
        os.utime(models / _name(spec))
    return models / _name(spec)


def remove_cached(folder: Path) -> None:
    """Remove a folder that `find_cached` named, and that does not hold what was written."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_model_folder(spec: EncoderSpec, write: Callable[[Path], None]) -> Iterator[Path]:
    """A folder that `write` fills with the converted model of `spec`; raises OSError if it cannot.

    It is kept in the cache if the block ends without an error. Where nothing can be kept, a
    warning says so, and the folder is a temporary one.

    Raises:
        EncoderError: it cannot be written anywhere.
    """
    models = _models()
    folder = (models and _filled_in(models, write)) or _filled_beside(spec, write)
    try:
        yield folder
        if folder.parent == models:
            _keep(folder, models / _name(spec))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _filled_in(models: Path, write: Callable[[Path], None]) -> Path | None:
    """None where the cache cannot take it."""
    folder = models / f"{_PART}{secrets.token_hex(8)}"
    try:
        models.mkdir(parents=True, exist_ok=True)
        _sweep(models)
        folder.mkdir()  # with the rights that others are to have, unlike a temporary folder
        write(folder)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        _warn(str(error))
        return None
    return folder


def _filled_beside(spec: EncoderSpec, write: Callable[[Path], None]) -> Path:
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
            do="Make room on the disk, or name a folder with COMMONSPACE_CACHE.",
        ) from error
    return folder


def _keep(folder: Path, place: Path) -> None:
    """Move the folder to its place, where a twin may be first."""
    try:
        folder.rename(place)
    except OSError as error:
        if not place.is_dir():
            _warn(str(error))


def _sweep(models: Path) -> None:
    """Remove what nobody uses: models by their age, and what a killed process has left."""
    for path in (one for one in models.iterdir() if _OURS.fullmatch(one.name)):
        most = _HOUR if path.name.startswith(_PART) else _UNUSED
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > most:
                shutil.rmtree(path, ignore_errors=True)


def _models() -> Path | None:
    """The cache's folder of models; None where there is no home to have one in."""
    named, above = os.environ.get("COMMONSPACE_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if named:
        return Path(named).absolute() / "models"
    if Path(above).is_absolute():
        return Path(above) / "commonspace" / "models"
    try:
        return Path.home() / ".cache" / "commonspace" / "models"
    except RuntimeError as error:
        _warn(str(error))
        return None


def _name(spec: EncoderSpec) -> str:
    """What decides the files: the spec, and by `_made_by` what converts."""
    return f"{spec.fingerprint[:32]}-{_made_by()}"


@functools.cache
def _made_by() -> str:
    """16 hex digits over the versions of the libraries and over all code of the encoders."""
    digest = hashlib.sha256()
    for package in _MAKERS:
        try:
            digest.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"{package} missing\n".encode())
    root = Path(encoders.__path__[0])
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _warn(why: str) -> None:
    _log.warning(
        "the converted model cannot be kept (%s): every process converts it again, in some "
        "twenty seconds. COMMONSPACE_CACHE names a folder for it.",
        why,
    )
