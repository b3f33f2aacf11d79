"""Why a file that should be Parquet cannot be opened as such."""

from __future__ import annotations

import os

from commonspace.pipeline.source.extents import End, UnreadableFile
from commonspace.pipeline.source.files import SourceFile
from commonspace.pipeline.source.row_groups.batches import first_line
from commonspace.pipeline.source.text.first_bytes import HEAD_BYTES, format_of

_MAGIC, _MAGIC_OF_ENCRYPTED = b"PAR1", b"PARE"
"""What a Parquet file begins and ends with."""


def why_unreadable(file: SourceFile, error: Exception) -> UnreadableFile:
    """What a file is that cannot be opened as Parquet.

    Args:
        file: it can be opened.
        error: what was raised.
    """
    with file.path.open("rb") as opened:
        head, size = opened.read(HEAD_BYTES), opened.seek(0, os.SEEK_END)
        opened.seek(max(size - len(_MAGIC), 0))
        tail = opened.read()
    if not size:
        return UnreadableFile("has no byte", end=End.EMPTY, retry=True)
    if _MAGIC_OF_ENCRYPTED in (head[: len(_MAGIC)], tail):
        return UnreadableFile("is encrypted: it can only be read with its key")
    if not _MAGIC.startswith(head[: len(_MAGIC)]):
        do = 'A source of kind = "csv" or "jsonl" reads text, also where it is compressed.'
        return UnreadableFile(f"is no Parquet file but {format_of(head)}", do=do)
    if size <= len(_MAGIC) or tail != _MAGIC:
        return UnreadableFile("ends before its footer", end=End.CUT, retry=True)
    return UnreadableFile(f"has a damaged footer: {first_line(error)}", retry=True)
