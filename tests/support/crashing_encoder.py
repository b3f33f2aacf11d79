"""Processes in which the `hashed` encoder kills its own with SIGKILL, or hangs."""

from __future__ import annotations

import json
import os
from pathlib import Path

MONSTER = "monster"
"""A text that has this word kills, where it is encoded."""
SLEEPER = "sleeper"
"""A text that has this one takes a minute."""

SITE = """
import json, os, signal, time
from commonspace.encoders.hashed import HashedEncoder
plain = HashedEncoder.encode

def encode(self, contents, **options):
    lines = json.dumps([c for c in contents if c.startswith("item ")]) + "\\n"
    with open(LOG, "a") as log:
        log.write(lines)
    if any("monster" in content for content in contents):
        os.kill(os.getpid(), signal.SIGKILL)
    if any("sleeper" in content for content in contents):
        time.sleep(60)
    return plain(self, contents, **options)

HashedEncoder.encode = encode
"""


def deadly(folder: Path) -> dict[str, str]:
    """The environment of such processes; what they encode is written down in `folder`."""
    (folder / "site").mkdir()
    code = f"LOG = {str(folder / 'encoded')!r}\n{SITE}"
    (folder / "site/sitecustomize.py").write_text(code)
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


def encoded(folder: Path) -> list[list[str]]:
    """The texts of each call of the encoder, the canary's probes left out."""
    calls = map(json.loads, (folder / "encoded").read_text().splitlines())
    return [call for call in calls if call]
