"""How a CSV file is laid out: what its first lines say, beside what the collection file says."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from commonspace.pipeline.errors import SourceNotFound
from commonspace.pipeline.source.files import SourceFile
from commonspace.pipeline.source.text.lines import Lines, RecordTooLarge

DELIMITERS = ",;\t|"
"""Which another delimiter is looked for among."""


UNEXPECTED_END = "unexpected end of data"
"""What Python's reader says of a quoted field that goes on where the text ends."""


@dataclass(frozen=True, kw_only=True)
class CsvLayout:
    """What decides how a CSV file is read.

    Attributes:
        columns: Their names, an empty one for a column without; None where the file's first line
            names them.
        delimiter: Between fields.
        escape: What stands before a quote that is part of a quoted field, if quotes are not
            doubled.
        comment: What a line that is no record begins with.
        skip_blanks: Whether blanks behind a delimiter belong to it.
        has_declared_columns: Whether the collection file names the columns.
        needed: The columns that the collection file needs; any other name may be repeated.
    """

    columns: Sequence[str] | None
    delimiter: str
    escape: str | None = None
    comment: str | None = None
    skip_blanks: bool = False

    has_declared_columns: bool = False
    needed: Sequence[str] = ()

    def reader(self, lines: Lines) -> Iterator[list[str]]:
        """The fields of one record after another; it raises csv.Error for a broken one."""
        options: dict[str, Any] = {"delimiter": self.delimiter, "escapechar": self.escape}
        rows = lines if self.comment is None else _without_comments(lines, self.comment)
        return csv.reader(rows, strict=True, skipinitialspace=self.skip_blanks, **options)

    def ends_within_quotes(self, text: str) -> bool:
        """Whether the first lines of a record end where a quoted field goes on."""
        options: dict[str, Any] = {"delimiter": self.delimiter, "escapechar": self.escape}
        rows = csv.reader([text], strict=True, skipinitialspace=self.skip_blanks, **options)
        try:
            next(rows, None)
        except csv.Error as error:
            return str(error) == UNEXPECTED_END
        return False


def read_layout(lines: Lines, declared: CsvLayout, file: SourceFile) -> CsvLayout:
    """The layout of a file, whose first lines are read up to its first record.

    A first line `sep=;`, which Excel writes and obeys, decides the delimiter. Names of columns lose
    the blanks around them; where each but the first has one before it, so do the fields.

    Raises:
        SourceNotFound: the first line names no columns, or names some that the collection file
            names, too.
    """
    layout = _after_separator_line(lines, declared)
    if layout.columns is not None:
        _refuse_second_header(lines, layout, file)
        return replace(layout, has_declared_columns=True)
    header = _read_header(lines, layout, file)
    if len(header) > 1 and all(name[:1] == " " for name in header[1:]):
        layout = replace(layout, skip_blanks=True)
        lines.read_record_again()
        header = _read_header(lines, layout, file)
    _require_usable(header, lines, layout, file)
    lines.begin_record()
    return replace(layout, columns=[name.strip() for name in header])


def other_delimiter(field: str, delimiter: str) -> str | None:
    """The delimiter that a record of one field seems to have instead."""
    others = [mark for mark in DELIMITERS if mark != delimiter and mark in field]
    return max(others, key=field.count, default=None)


def _after_separator_line(lines: Lines, declared: CsvLayout) -> CsvLayout:
    lines.begin_record()
    try:
        match = re.fullmatch(r'"?sep=(.)"?\s*', next(lines, ""))
    except RecordTooLarge:
        match = None
    if match is None:
        lines.read_record_again()
        return declared
    lines.begin_record()
    return replace(declared, delimiter=match[1])


def _read_header(lines: Lines, layout: CsvLayout, file: SourceFile) -> list[str]:
    """The fields of the first record; none where the file is empty."""
    try:
        for header in layout.reader(lines):
            if header:
                return header
            lines.begin_record()
    except RecordTooLarge as error:
        raise _no_header(lines.too_large.message, file, "Is it a CSV file?") from error
    except csv.Error as error:
        do = "Quote what has a line break or a quote in it, and double the quotes in it."
        if "new-line character" in str(error):
            problem = "its lines end in carriage returns alone"
            do = "Write line feeds instead: tr '\\r' '\\n'."
        else:
            problem = str(error)
        raise _no_header(problem, file, do) from error
    return []


def _require_usable(
    header: Sequence[str], lines: Lines, layout: CsvLayout, file: SourceFile
) -> None:
    names = [name.strip() for name in header if name.strip()]
    if not header and lines.is_empty:
        return
    if lines.undecodable:
        do = 'Name the `encoding` of the source, such as encoding = "cp1252".'
        raise _no_header(f"it is not valid {lines.encoding}", file, do)
    if not names:
        raise _no_header("there is none, or it names nothing", file, "")
    if len(header) == 1 and (delimiter := other_delimiter(header[0], layout.delimiter)):
        do = f"Set the source's `delimiter`: delimiter = {json.dumps(delimiter)}."
        raise _no_header(f"{header[0]!r} would be one column", file, do)
    if names[0].startswith("#") and len(header) == 1:
        raise _no_header(
            f"{names[0]!r} is a comment", file, 'Set the source\'s `comment`: comment = "#".'
        )
    if repeated := [name for name in layout.needed if names.count(name) > 1]:
        do = "Rename all but the one that is meant."
        raise _no_header(f"it names more than one column {repeated[0]!r}", file, do)


def _refuse_second_header(lines: Lines, layout: CsvLayout, file: SourceFile) -> None:
    """A first line that repeats the names of `columns` would become an item of its own."""
    columns = {name.strip().casefold() for name in layout.columns or ()}
    try:
        first = next(layout.reader(lines), [])
    except (csv.Error, RecordTooLarge):
        first = []
    lines.read_record_again()
    repeated = columns & {value.strip().casefold() for value in first}
    if len(repeated) >= min(len(columns), 2):
        raise SourceNotFound(
            f"has a header line, {', '.join(first)!r}, beside the `columns` of the collection file",
            item=str(file.path),
            do="Remove `columns` from the collection file: the file's own names are used then.",
        )


def _without_comments(lines: Lines, comment: str) -> Iterator[str]:
    """The lines but those that are comments: such a line is none within a record."""
    for line in lines:
        if lines.is_first_of_record and line.startswith(comment):
            lines.begin_record()
        else:
            yield line


def _no_header(problem: str, file: SourceFile, do: str) -> SourceNotFound:
    return SourceNotFound(f"has no usable header line: {problem}", item=str(file.path), do=do)
