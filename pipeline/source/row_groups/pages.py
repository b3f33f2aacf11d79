"""The headers of a Parquet file's pages, which say how large a page becomes before it is read.

Thrift's compact protocol, as far as a `PageHeader` of parquet.thrift needs it:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

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
        fields = _Fields(data)
        try:
            numbers = fields.read_struct()
            page = Page(numbers[_COMPRESSED], numbers[_UNCOMPRESSED])
            return (page, fields.position) if min(page.compressed, page.uncompressed) >= 0 else None
        except IndexError:  # the header goes on behind what was read
            if len(data) < size:
                return None
            size *= 8
        except (KeyError, ValueError, RecursionError):
            return None
    return None


class _Fields:
    """Reads a struct of Thrift's compact protocol; IndexError where its bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data, self.position = data, 0

    def read_struct(self) -> dict[int, int]:
        """The integers among the fields, by their number; all others are passed over."""
        numbers, field = dict[int, int](), 0
        while header := self._byte():
            delta, kind = header >> 4, header & 15
            field = field + delta if delta else self._integer()
            if kind in {4, 5, 6}:
                numbers[field] = self._integer()
            else:
                self._skip(kind)
        return numbers

    def _skip(self, kind: int, *, is_element: bool = False) -> None:
        match kind:
            case 1 | 2:  # a boolean is in its field's header, but for an element
                self._forward(int(is_element))
            case 3:
                self._forward(1)
            case 4 | 5 | 6:
                self._varint()
            case 7:
                self._forward(8)
            case 8:
                self._forward(self._varint())
            case 9 | 10:
                header = self._byte()
                count = header >> 4 if header >> 4 < 15 else self._varint()
                for _ in range(count):
                    self._skip(header & 15, is_element=True)
            case 12:
                self.read_struct()
            case _:
                raise ValueError(kind)

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _forward(self, size: int) -> None:
        self.position += size
        if self.position > len(self._data):
            raise IndexError(self.position)

    def _varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
