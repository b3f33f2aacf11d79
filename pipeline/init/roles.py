"""Which column of a table is the id, which are encoded, and which travel with the vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from commonspace.encoders.protocol import Failure
from commonspace.pipeline.config.column_names import check_column_names, fold_name
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.init.columns import Column, by_name
from commonspace.pipeline.init.image_column import ImageColumn
from commonspace.pipeline.init.toml_text import is_writable

PROSE_WORDS = 3.0
"""Words of a text, on average, from which on it is taken for one that says something."""
LONGEST_METADATA = 2_000
"""Characters: a column with a longer text is not copied into the rows."""
MOST_METADATA = 60
_IDS = re.compile(
    r"_?id|.*[ _-]id|.*_(pk|key)|uu?id|guid|key|isbn.*|doi|docno|doc|pmid|sku|slug|asin|ean|code|"
    r"file_?name|path|url|uri|accession"
)
_TEXTS = re.compile(
    r"(.*_)?(text|title|headline|subject|question|body|content|description|abstract|captions?|"
    r"summary|blurb|comment|message|query|sentence\d*|review|document|answer|utterance|passage|"
    r"paragraph|prompt|response|lyrics|quote|s[12])"
)


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What each column is for.

    Attributes:
        id: None where ids are made.
        fields: the columns of texts that are encoded.
        image: the column that holds images.
        metadata: the type of each column that is published.
        doubts: what else they may be.
    """

    id: str | None
    fields: tuple[str, ...]
    image: str | None
    metadata: Mapping[str, str]
    doubts: tuple[str, ...] = ()


@dataclass
class _Choice:
    doubts: list[str] = field(default_factory=list)

    def id(self, columns: Mapping[str, Column]) -> str | None:
        candidates = by_name(columns, _IDS)
        usable = [c for c in candidates if c.is_complete and c.is_unique]
        for column in candidates:
            if column not in usable:
                problem = "has gaps" if not column.is_complete else "is not unique, or no id"
                self.doubts.append(f"{column.name!r} is called like an id, but {problem}")
        if len(usable) > 1:
            others = ", ".join(repr(column.name) for column in usable[1:])
            self.doubts.append(f"{others} could be the id as well as {usable[0].name!r}")
        return usable[0].name if usable else None

    def fields(self, columns: Mapping[str, Column], *, has_image: bool) -> tuple[str, ...]:
        texts = {
            name: column
            for name, column in columns.items()
            if column.texts is not None and column.type == "string" and not column.is_address
        }
        named = by_name(texts, _TEXTS)
        varied = [column for column in texts.values() if column.distinct_share > 0.3]
        chosen = [c.name for c in varied if c.words >= PROSE_WORDS or c in named]
        if chosen or has_image:
            return tuple(chosen)
        weaker = [*texts.values()] or [c for c in columns.values() if c.texts is not None]
        weaker = weaker or [c for c in by_name(columns, _TEXTS) if c.values and c.type]
        weaker.sort(key=lambda c: (c.blank_share, -c.distinct_share, -c.longest))
        if weaker:
            self.doubts.append(
                f"no column holds sentences; {weaker[0].name!r} is the best there is"
            )
        return tuple(column.name for column in weaker[:1])

    def metadata(self, columns: Sequence[Column]) -> dict[str, str]:
        types, left_out = dict[str, str](), list[str]()
        folded = set[str]()
        for column in columns:
            kind, name = column.type, column.name
            is_free = fold_name(name) not in folded and _is_column_name(name)
            is_long = kind == "string" and _longest(column) > LONGEST_METADATA
            if kind is None or is_long or not is_free or len(types) == MOST_METADATA:
                left_out.append(name)
            else:
                types[name] = kind
                folded.add(fold_name(name))
        if left_out:
            names = ", ".join(map(repr, left_out[:10]))
            self.doubts.append(
                f"{len(left_out)} columns are not published beside the vectors: their values are "
                f"long or bytes, or their names cannot be columns of a release ({names})"
            )
        return types


def choose_roles(columns: Mapping[str, Column], image: ImageColumn | None) -> Roles:
    """What each column of a table is for.

    Args:
        columns: by their names.
        image: the one that holds images, if any.

    Raises:
        UserMistake: none can be encoded.
    """
    choice = _Choice()
    columns = {name: column for name, column in columns.items() if is_writable(name)}
    others = {n: c for n, c in columns.items() if image is None or n != image.name}
    id_column = choice.id({n: c for n, c in columns.items() if not image or n != image.name})
    fields = choice.fields(
        {n: c for n, c in others.items() if n != id_column}, has_image=image is not None
    )
    if not fields and image is None and id_column and columns[id_column].texts is not None:
        fields = (id_column,)
    if not fields and image is None:
        names = ", ".join(map(repr, columns)) or "none that TOML can name"
        raise UserMistake(
            f"no column holds texts or images (its columns: {names})",
            do="Write the collection file by hand: docs/collections.md lists its keys.",
        )
    if len(fields) > 1:
        choice.doubts.append(
            f"{', '.join(map(repr, fields))} are joined into one text, in this order; name one of "
            "them alone in `fields`, or make a space of each"
        )
    rows = [column for name, column in others.items() if name != id_column]
    if image is not None and image.is_path:
        rows.append(columns[image.name])
    return Roles(
        id=id_column,
        fields=fields,
        image=image.name if image else None,
        metadata=choice.metadata(rows),
        doubts=tuple(choice.doubts),
    )


def choose_rule(content_ids: Sequence[str | Failure | None]) -> str:
    """How ids are made: of the content, unless records of the sample have the same one."""
    ids = [item for item in content_ids if item is not None]
    return "content" if len(set(map(str, ids))) == len(ids) else "row"


def _longest(column: Column) -> int:
    return max((len(str(value)) for value in column.values), default=0)


def _is_column_name(name: str) -> bool:
    try:
        check_column_names([name])
    except ValueError:
        return False
    return True
