"""Build the items of a run: what a record becomes, or why it is rejected."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.collection import Collection
from commonspace.pipeline.config.sections import space_key
from commonspace.pipeline.errors import NO_ID_COLUMN, UserMistake, did_you_mean
from commonspace.pipeline.pull.extents import extent_row
from commonspace.pipeline.pull.passages import PassageWriter
from commonspace.pipeline.pull.versions import OLDER_RECORDS, Outcome, Versions
from commonspace.pipeline.release.rejects import reject_row
from commonspace.pipeline.source.content import read_content
from commonspace.pipeline.source.conversion.metadata import column_converters, convert_metadata
from commonspace.pipeline.source.conversion.text import printable
from commonspace.pipeline.source.extents import End, Extent
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.notices import Notice, NoticeKind, Notices
from commonspace.pipeline.source.protocol import Scanned
from commonspace.pipeline.source.record_ids import id_column, record_id
from commonspace.pipeline.source.records import Record, Scope, UnreadableRecord, sha256_hex
from commonspace.pipeline.workspace.progress import Progress


def _timestamp_text(value: datetime) -> str:
    """`2026-01-31 09:30:00+00:00`: another form would change the digest of published rows."""
    return value.isoformat(" ")


_canonical_json = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, check_circular=False, default=_timestamp_text
).encode


SAME_CONTENT = "records with the content of an earlier one, which is the item of both"
WITHOUT_CONTENT = "records without any content, of which no id can be made"


@dataclass
class PullCounts:
    """How many records a pull read, and what became of them."""

    records: int = 0
    items: int = 0
    rejected: int = 0
    bad_cells: int = 0
    """Items with metadata that cannot be read."""


class ItemBuilder:
    """Turns records into items, and collects the rejects, the notices and the extents.

    extents: rows of EXTENTS_SCHEMA, one of each file that was read.
    field_names: every field that a record had, to find names that no record has.
    winners: the `row_digest` of each item that was built again, from a newer record.
    rejects: once all records are taken, those of contents whose item was built again are to be
        removed (`remove_replaced_rejects`).
    """

    def __init__(
        self, collection: Collection, run: str, writers: Mapping[str, PassageWriter]
    ) -> None:
        self.counts = PullCounts()
        self.notices = Notices()
        self.extents: list[dict[str, str | None]] = []
        self.rejects: list[dict[str, Any]] = []
        self.field_names: set[str] = set()
        self.winners: dict[str, str] = {}
        self._rejects_before: dict[tuple[str, str | None], int] = {}
        self._collection, self._run, self._writers = collection, run, writers
        self._spaces = {space_key(space): space for space in collection.space}
        self._metadata_types = collection.source.metadata
        self._converters = column_converters(self._metadata_types)
        self._versions = Versions(collection.source.newest)
        self._access = FileAccess.of(collection)

    def items(self, scanned: Iterable[Scanned], progress: Progress) -> Iterator[dict[str, Any]]:
        """The items of the records, as rows of `items_schema`; the other records are rejected."""
        for record in scanned:
            if isinstance(record, Notice):
                self.notices.add(record)
                continue
            if isinstance(record, Extent):
                self.extents.append(extent_row(record, self._collection))
                continue
            self.counts.records += 1
            progress.advance()
            if isinstance(record, UnreadableRecord):
                self._reject(record, record.failure, record.id)
                continue
            self.field_names.update(record.values)
            item = self._item(record)
            if isinstance(item, Failure):
                item_id = record_id(record, self._collection)
                self._reject(record, item, item_id if isinstance(item_id, str) else None)
                continue
            if item is None:
                continue
            for key in self._spaces:
                item[f"digest:{key}"] = self._content_digest(record, item, key)
            self.counts.items += item["id"] not in self.winners
            yield item

    def remove_replaced_rejects(self) -> None:
        """Remove the rejects of contents of which a newer record of the same partition is taken."""
        stay = [
            row
            for number, row in enumerate(self.rejects)
            if row["space"] is None
            or number >= self._rejects_before.get((row["id"], row["partition"]), 0)
        ]
        self.counts.rejected -= len(self.rejects) - len(stay)
        self.rejects = stay

    def check_fields(self, scope: Scope) -> None:
        """Compare the fields that the records had with those that the collection file names.

        A few ids may well lack an optional field; what a whole partition lacks is a notice, as is
        what a file may have that could not be read.

        Raises:
            UserMistake: no record of the whole source has a field.
        """
        if scope.ids is not None or not self.field_names:
            return
        collection = self._collection
        needed = dict.fromkeys(filter(None, [id_column(collection)]), "the source's `id`")
        if collection.source.generate_id == "content":
            needed |= dict.fromkeys(collection.content_columns, "`generate_id`")
        for space in collection.space:
            names = [*space.fields, *([space.image] if space.image else [])]
            needed |= dict.fromkeys(names, f"space {space.name!r}")
        needed |= dict.fromkeys(collection.source.metadata, "`metadata`")
        is_part = any(row["end"] == End.UNREADABLE for row in self.extents)
        for name, owner in needed.items():
            if name in self.field_names:
                continue
            if scope.partition is not None or is_part:
                self.notices.add(Notice(NoticeKind.MISSING_FIELD, f"{name!r} of {owner}"))
            else:
                raise UserMistake(
                    f"no record has the field {name!r} that {owner} needs"
                    + did_you_mean(name, sorted(map(printable, self.field_names))),
                    item=str(collection.path),
                    do=NO_ID_COLUMN if name == id_column(collection) else "",
                )

    def _item(self, record: Record) -> dict[str, Any] | Failure | None:
        """The item without its digests.

        None where a newer record of its id was there before, or where ids are made of the content:
        one with the same content, or the record has none.
        """
        item_id = record_id(record, self._collection)
        if isinstance(item_id, Failure):
            return item_id
        if item_id is None:
            self._note_unnamed(record, NoticeKind.NO_CONTENT, WITHOUT_CONTENT)
            return None
        if not _is_storable(record.locator, record.origin, record.partition or ""):
            return Failure(Reason.BAD_ID, "the file's name is not valid Unicode")
        metadata, bad_columns = convert_metadata(record.values, self._converters)
        outcome = self._versions.add(item_id, record.partition, metadata)
        is_first = outcome is Outcome.FIRST
        if not is_first:
            if outcome is Outcome.DUPLICATE:
                return self._duplicate(record)
            self.notices.add(Notice(NoticeKind.SUPERSEDED, OLDER_RECORDS, item_id))
            if outcome is Outcome.OLDER:
                return None
        if bad_columns:
            self._note_bad_cells(record, bad_columns)
        columns = [record.partition, record.origin, metadata]
        row_digest = sha256_hex(_canonical_json(columns))[:32]
        if not is_first:
            self.winners[item_id] = row_digest
            self._rejects_before[item_id, record.partition] = len(self.rejects)
        return {
            "id": item_id,
            "partition": record.partition,
            "source_uri": record.origin,
            "locator": record.locator,
            "row_digest": row_digest,
            **metadata,
        }

    def _duplicate(self, record: Record) -> Failure | None:
        """Why a record of an id that is taken is a reject; None where both have one content."""
        if self._collection.source.generate_id == "content":
            self._note_unnamed(record, NoticeKind.SAME_CONTENT, SAME_CONTENT)
            return None
        return Failure(Reason.DUPLICATE_ID, "an earlier record has this id; that one is used")

    def _note_unnamed(self, record: Record, kind: NoticeKind, about: str) -> None:
        self.notices.add(Notice(kind, about, printable(f"{record.origin}, {record.place}")))

    def _note_bad_cells(self, record: Record, columns: Iterable[str]) -> None:
        self.counts.bad_cells += 1
        for column in columns:
            about = f"{column!r} as {self._metadata_types[column]}"
            place = f"{record.origin}, {record.place}: {reprlib.repr(record.values[column])}"
            self.notices.add(Notice(NoticeKind.BAD_CELL, about, printable(place)))

    def _content_digest(self, record: Record, item: Mapping[str, Any], key: str) -> str | None:
        """The digest of the item's content for a space; its passages are written, if it has any."""
        content = read_content(record, self._spaces[key], self._access)
        if isinstance(content, Failure):
            self._reject(record, content, item["id"], key)
            return None
        if isinstance(content, str) and key in self._writers:
            self._writers[key].add(item, content)
        return None if content is None else sha256_hex(content)

    def _reject(
        self,
        record: Record | UnreadableRecord,
        failure: Failure,
        item_id: str | None,
        space: str | None = None,
    ) -> None:
        self.counts.rejected += 1
        columns = {
            "id": item_id,
            "partition": record.partition,
            "source_uri": record.origin,
            "place": record.place,
            "space": space,
        }
        known = {n: None if text is None else printable(text) for n, text in columns.items()}
        failure = replace(failure, message=printable(failure.message))
        self.rejects.append(reject_row(failure, stage="pull", run=self._run, **known))


def _is_storable(*texts: str) -> bool:
    """Whether the texts can be written as UTF-8."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True
