"""What a stack said last, for a test that failed: of a run in CI, only the output is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

LINES, TASKS, WIDTH = 25, 3, 400


def tails(folder: Path) -> str:
    """The end of each part's log, then of the logs of the tasks that were the last to fail."""
    parts = sorted((folder / "logs").glob("*.log"))
    tasks = sorted((folder / "airflow/logs").rglob("*.log"), key=lambda log: log.stat().st_mtime)
    failed = [log for log in tasks if any(_is_error(line) for line in _lines(log))]
    found = [(log.name, _lines(log)) for log in parts]
    found += [
        (str(log.relative_to(folder / "airflow/logs")), list(map(_told, _lines(log))))
        for log in failed[-TASKS:]
    ]
    return "\n".join(line for name, lines in found for line in _tail(name, lines))


def _tail(name: str, lines: list[str]) -> Iterator[str]:
    yield f"----- {name}, the last {min(LINES, len(lines))} of {len(lines)} lines"
    yield from (line[:WIDTH] for line in lines[-LINES:])


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def _is_error(line: str) -> bool:
    return '"level":"error"' in line or '"level":"critical"' in line


def _told(line: str) -> str:
    """A line of a task's log, which is JSON, for people."""
    try:
        event = json.loads(line)
        return f"{event.get('level', '')}: {event['event']} {event.get('error_detail', '')}"
    except (ValueError, KeyError, TypeError):
        return line
