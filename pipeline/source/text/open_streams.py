"""Streams of compressed files that stay open between calls: the last few that were read."""

from __future__ import annotations

import weakref
from pathlib import Path

from commonspace.pipeline.source.text.stream import TextStream

OPEN_STREAMS = 8
"""Of all files: the shards read one file after the other, and the spot checks so once more."""


class OpenStreams:
    """At most OPEN_STREAMS streams, which are closed when this object goes."""

    def __init__(self) -> None:
        self._streams: list[tuple[Path, TextStream]] = []
        weakref.finalize(self, _close, self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def take(self, path: Path, start: int) -> TextStream | None:
        """The file's stream that is nearest before `start`, if there is one; it is kept no more."""
        before = [kept for kept in self._streams if kept[0] == path and kept[1].reaches(start)]
        if not before:
            return None
        nearest = max(before, key=lambda kept: kept[1].offset)
        self._streams.remove(nearest)
        return nearest[1]

    def keep(self, path: Path, stream: TextStream) -> None:
        """Keep a stream; the one that was kept longest ago may be closed for it."""
        self._streams.append((path, stream))
        if len(self._streams) > OPEN_STREAMS:
            self._streams.pop(0)[1].close()


def _close(streams: list[tuple[Path, TextStream]]) -> None:
    while streams:
        streams.pop()[1].close()
