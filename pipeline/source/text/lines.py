"""The lines of a text file, a record at a time: none beyond the limit is held in memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.source.extents import End
from commonspace.pipeline.source.records import Record, UnreadableRecord, record_too_large
from commonspace.pipeline.source.text.stream import BUFFER_BYTES, line_reader


class RecordTooLarge(Exception):
    """A record has more bytes than the limit."""


class Lines(Iterator[str]):
    """The decoded lines of a text file.

    Attributes:
        encoding: Of the text.
        offset: The byte after the last line that was read.
        number: How many lines were read: the number of the last one, from 1.
        start: The first byte of the record.
        first_number: The number of its first line.
        undecodable: Whether a line of the record did not fit the encoding.
        failure: Why the file could not be read to its end, once that was met.
        ended_within_record: Whether the file ended where a record went on, whatever was then read
            again of it.
    """

    def __init__(
        self,
        file: io.BufferedIOBase,
        encoding: str,
        max_record_bytes: int,
        offset: int = 0,
        failure: Callable[[], Failure | None] = lambda: None,
    ) -> None:
        """Begin at `offset`, where the file is; `failure`: why it may end too early."""
        self.encoding, self._line_end = encoding, "\n".encode(encoding)
        self._readline, self._failure_at_end = line_reader(file, encoding), failure
        self.offset, self.number, self.undecodable = offset, 0, False
        self.start, self.first_number = offset, 1
        self.failure: Failure | None = None
        self.ended_within_record = False
        self._limit = max_record_bytes
        self._line = b""
        self._of_record: list[bytes] = []
        self._again: list[bytes] = []

    @property
    def is_empty(self) -> bool:
        """Whether no line has been read."""
        return not self._line

    @property
    def is_open(self) -> bool:
        """Whether the last line that was read has no line end."""
        return bool(self._line) and not self._line.endswith(self._line_end)

    @property
    def is_first_of_record(self) -> bool:
        """Whether the last line that was read is the first of its record."""
        return len(self._of_record) == 1

    @property
    def record(self) -> bytes:
        """The lines of the record so far."""
        return b"".join(self._of_record)

    @property
    def text(self) -> str:
        """The same, decoded."""
        return self.record.decode(self.encoding, errors="replace")

    @property
    def too_large(self) -> Failure:
        """Why a record beyond the limit is none."""
        return record_too_large("the record", self._limit)

    def end(self, last: Record | UnreadableRecord | None) -> End:
        """How the file ended, all of its lines read.

        Args:
            last: its last record; one that cannot be read, and has no line end, was cut.
        """
        if self.failure or self.ended_within_record:
            return End.CUT
        if last is None:
            return End.EMPTY
        if not self.is_open:
            return End.WHOLE
        return End.OPEN if isinstance(last, Record) else End.CUT

    def begin_record(self) -> None:
        """What is read from now on is a record of its own; the last line is read to its end."""
        if self.offset - self.start > self._limit:
            self._skip_rest()
        self._of_record.clear()
        self.undecodable = False
        self.start, self.first_number = self.offset, self.number + 1

    def skip_quoted(self, is_quoted: bool) -> None:
        """Read on to the end of the record, which is not kept.

        Args:
            is_quoted: whether a quoted field goes on where reading has stopped.
        """
        while is_quoted or not self._line.endswith(self._line_end):
            part = self._again.pop() if self._again else self._readline(BUFFER_BYTES)
            if not part:
                self.ended_within_record |= is_quoted
                break
            self.number += self._line.endswith(self._line_end)
            is_quoted ^= part.decode(self.encoding, errors="replace").count('"') % 2 == 1
            self._line = part
            self.offset += len(part)
        self._of_record.clear()

    def read_record_again(self) -> None:
        """Go back to where the record began."""
        self._again += reversed(self._of_record)
        self.offset, self.number = self.start, self.first_number - 1
        self._of_record.clear()

    def __next__(self) -> str:
        room = self._limit - (self.offset - self.start)
        line = self._again.pop() if self._again else self._readline(room + 1)
        if not line.endswith(self._line_end):
            line = self._read_on(line, room)
        self._line = line
        self.offset += len(line)
        self.number += 1
        self._of_record.append(line)
        if len(line) > room:
            raise RecordTooLarge
        try:
            return line.decode(self.encoding)
        except UnicodeDecodeError:
            self.undecodable = True
            return line.decode(self.encoding, errors="replace")

    def _read_on(self, line: bytes, room: int) -> bytes:
        """The line with what follows it, up to its end, the limit or the end of the file."""
        line += self._readline(max(room - len(line) + 1, 0))
        # The last line of a stream that ends too early has lost its end.
        if not line or (not line.endswith(self._line_end) and self._failure_at_end()):
            self.failure = self._failure_at_end()
            raise StopIteration
        return line

    def _skip_rest(self) -> None:
        """Read on to the end of the line, which is not kept."""
        while not self._line.endswith(self._line_end):
            part = self._readline(BUFFER_BYTES)
            if not part:
                return
            self._line = part
            self.offset += len(part)
