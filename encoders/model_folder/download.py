"""Downloads one file: resumed where it was cut, checked by its digest, once for all processes.

Proxies are those of the environment (`https_proxy`, `no_proxy`). A bar on a terminal shows how far
it is.
"""

from __future__ import annotations

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from commonspace.encoders.errors import EncoderNotFound, WeightsRefused
from commonspace.encoders.model_folder.digests import sha256_of

STALLED_AFTER = 30.0
"""Seconds without a byte after which a connection is given up, and another one tried."""
ATTEMPTS = 4
"""How many connections in a row may bring nothing before the download is given up."""
PAUSE = 1.0
"""Seconds before the second attempt, doubled for each further one."""
_CHUNK = 1 << 20
_LASTING = range(400, 500)
_NOT_LASTING = (408, 416, 425, 429)

_log = logging.getLogger(__name__)


def download(url: str, path: Path, *, sha256_prefix: str, otherwise: str) -> None:
    """Download a file, unless it is there; another process that downloads it is waited for.

    What came before a connection broke stays in `<path>.part`, for the next attempt of any process.

    Args:
        url: its address, by http or https.
        path: where it goes, whole or not at all.
        sha256_prefix: the first hex digits of its sha256.
        otherwise: what to do without it, for errors.

    Raises:
        EncoderNotFound: it cannot be downloaded; the error says whether trying again may help.
        WeightsRefused: what was downloaded is another file.
    """
    from filelock import FileLock

    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if path.exists():
                return
            _log.info("downloading %s", url)
            _download(url, part)
            digest = sha256_of(part)
            if not digest.startswith(sha256_prefix):
                part.unlink()
                raise WeightsRefused(
                    f"was downloaded from {url} and is another file: its sha256 begins with "
                    f"{digest[: len(sha256_prefix)]}",
                    item=path.name,
                    retry=True,
                    do="Try again; a proxy may have answered with a page of its own.",
                )
            part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        status = error.code if isinstance(error, urllib.error.HTTPError) else 0
        raise EncoderNotFound(
            f"cannot be downloaded from {url}: {_reason(error)}",
            item=path.name,
            retry=not _is_lasting(status),
            do=otherwise if _is_lasting(status) else f"Try again, which resumes it. {otherwise}",
        ) from error


def _download(url: str, part: Path) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            return _append(url, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and _is_lasting(error.code):
                raise
            failures = 1 if _size(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            _log.info("downloading %s is tried again: %s", url, _reason(error))
            time.sleep(PAUSE * 2 ** (failures - 1))


def _append(url: str, part: Path) -> None:
    """Append what `part` lacks of the file.

    Raises:
        OSError, http.client.HTTPException: the connection broke; `part` has what came before.
    """
    start = _size(part)
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - a library's own address
    try:
        # A new opener: the default one keeps the proxies that were set when it was first used.
        opener = urllib.request.build_opener()
        response: Any = opener.open(request, timeout=STALLED_AFTER)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return  # it is whole
        part.unlink()
        raise
    with response:
        resumed = re.match(r"bytes (\d+)-", response.headers.get("Content-Range") or "")
        start = start if resumed and int(resumed[1]) == start else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, start, total, part.stem)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection ended after {_size(part):,} of {total:,} bytes")


def _copy(response: Any, file: Any, start: int, total: int | None, name: str) -> None:
    from tqdm import tqdm

    # Shown on a terminal only.
    with tqdm(
        desc=name, total=total, initial=start, unit="B", unit_scale=True, disable=None, leave=False
    ) as bar:
        while chunk := response.read1(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_lasting(status: int) -> bool:
    return status in _LASTING and status not in _NOT_LASTING


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}"
    if isinstance(error, TimeoutError):
        return f"no byte came within {STALLED_AFTER:g} seconds"
    reason = getattr(error, "reason", error)
    return str(reason) or type(reason).__name__
