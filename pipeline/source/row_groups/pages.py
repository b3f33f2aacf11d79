"""The headers of a Parquet file's pages, which say how large a page becomes before it is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from commonspace.pipeline.source.row_groups.thrift import ThriftReader

FIRST_READ_BYTES = 2**10
LONGEST_HEADER_BYTES = 2**24
"""A header may hold the smallest and the largest value of its page."""
_UNCOMPRESSED, _COMPRESSED = 2, 3
"""The numbers of the two sizes among the fields of a header."""


@dataclass(frozen=True)
class Page:
    """One page of a column: its bytes in the file, and those that it decompresses to."""

    compressed: int
    uncompressed: int


def column_pages(file: BinaryIO, start: int, end: int) -> Iterator[Page]:
    """The pages between two bytes of a file, up to the first whose header makes no sense."""
    while start < end:
        header = _read_header(file, start)
        if header is None:
            return
        page, length = header
        yield page
        start += length + page.compressed


def _read_header(file: BinaryIO, start: int) -> tuple[Page, int] | None:
    """A page by its header, and how long that is."""
    size = FIRST_READ_BYTES
    while size <= LONGEST_HEADER_BYTES:
        file.seek(start)
        data = file.read(size)
        reader = ThriftReader(data)
        try:
            header = reader.read_struct()
            page = Page(header[_COMPRESSED], header[_UNCOMPRESSED])
            return (page, reader.position) if min(page.compressed, page.uncompressed) >= 0 else None
        except IndexError:  # the header goes on behind what was read
            if len(data) < size:
                return None
            size *= 8
        except (KeyError, TypeError, ValueError, RecursionError):
            return None
    return None
