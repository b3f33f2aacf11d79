"""Where the repository lies, however deep the test that asks."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DAGS = REPOSITORY / "dags"
