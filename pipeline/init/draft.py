"""What a collection file for some data would say: looked at, decided, not yet written."""

from __future__ import annotations

import getpass
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from commonspace.encoders.defaults import DefaultEncoder
from commonspace.encoders.errors import EncoderError
from commonspace.encoders.spec import Modality
from commonspace.pipeline.config.names import NAME
from commonspace.pipeline.errors import UserMistake
from commonspace.pipeline.init.columns import Column, columns_of
from commonspace.pipeline.init.encoder_choice import choose_encoder
from commonspace.pipeline.init.file_kinds import IMAGES
from commonspace.pipeline.init.image_column import ImageColumn, find_image_column
from commonspace.pipeline.init.location import Location
from commonspace.pipeline.init.roles import Roles, choose_roles, choose_rule
from commonspace.pipeline.init.sample import Sample, read_sample
from commonspace.pipeline.source.files import base_folder
from commonspace.pipeline.source.record_ids import content_id

LONG_TEXT = 1_000
"""Characters: small models read no more of a text."""


@dataclass(frozen=True, kw_only=True)
class EncoderWishes:
    """The encoders that the user names; None for one to begin with."""

    text: str | None = None
    image: str | None = None
    image_weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class SpaceDraft:
    """A `[[space]]`: its settings, and what is said of them in comments."""

    settings: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Draft:
    """A collection file that is not written yet.

    Attributes:
        source: the keys of `[source]`, with an absolute `uri`.
        id_remark: why the ids are what they are.
        seen: what was looked at.
        doubts: what may be wrong.
    """

    name: str
    owner: str
    source: dict[str, Any]
    id_remark: str = ""
    spaces: list[SpaceDraft] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def draft_collection(location: Location, name: str | None, wishes: EncoderWishes) -> Draft:
    """Decide what a collection file for the data says.

    Args:
        location: where it is.
        name: of the collection; by default made of the name of the file or folder.
        wishes: the encoders to use.

    Raises:
        UserMistake: nothing in it can be encoded, or it cannot be read.
        EncoderError: no encoder can be used.
    """
    if name is not None and not (re.fullmatch(NAME, name) and len(name) <= 64):
        raise UserMistake(
            f"{name!r} is no name of a collection",
            do="Use lower-case letters and digits, joined by single '-' or '_'.",
        )
    source = {"kind": location.kind, "uri": location.uri}
    draft = Draft(name=name or default_name(location), owner=_user(), source=source)
    draft.seen += location.seen
    draft.doubts += location.doubts
    if location.kind == "folder":
        _add_folder(draft, location, wishes)
    else:
        _add_table(draft, location, wishes)
    return draft


def default_name(location: Location) -> str:
    """The name of the file or folder, in the letters that a collection's name may have."""
    literal = re.sub(r"\[([*?\[])\]", r"\1", location.uri)
    is_one = len(location.files) == 1 or location.kind == "folder"
    stem = PurePath(literal if is_one else base_folder(location.uri)).name
    if location.kind != "folder" and is_one:
        stem = stem.partition(".")[0] or stem
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only)[:64].strip("-") or "collection"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "you"


def _add_folder(draft: Draft, location: Location, wishes: EncoderWishes) -> None:
    images = [path for path in location.files if path.suffix.lower() in IMAGES]
    texts = [path for path in location.files if path.suffix.lower() not in IMAGES]
    stems = [{path.with_suffix("") for path in paths} for paths in (texts, images)]
    if len(stems[0]) < len(texts) or len(stems[1]) < len(images):
        draft.source["id"] = "path"
        draft.id_remark = "some files differ only in their suffix, so every file is an item"
    is_few = len(texts) * 20 < len(images) and not stems[0] & stems[1]
    if texts and is_few:
        draft.doubts.append(f"{len(texts):,} texts beside so many images get no space of their own")
    if texts and not is_few:
        _add_space(draft, "text", {"fields": ["text"]}, wishes)
    if images:
        _add_space(draft, "image", {"image": "image"}, wishes)
    _require_space(draft)


def _add_table(draft: Draft, location: Location, wishes: EncoderWishes) -> None:
    sample = read_sample(location)
    draft.seen.append(sample.seen)
    draft.doubts += sample.doubts
    columns = columns_of(sample.records, sample.columns, is_of_text=location.kind == "csv")
    folder = sample.records[0].folder
    image, image_doubts = find_image_column(columns, folder, location.image_folders)
    draft.doubts += image_doubts
    roles = choose_roles(columns, image)
    more = f" and {len(columns) - 20:,} others" if len(columns) > 20 else ""
    draft.seen.append(f"columns: {', '.join(map(repr, [*columns][:20]))}{more}")
    draft.doubts += roles.doubts
    _add_source_keys(draft, sample, roles, image)
    if roles.fields:
        _add_space(draft, "text", {"fields": list(roles.fields)}, wishes, _on_texts(columns, roles))
    if image:
        draft.doubts += image.doubts
        _add_space(draft, "image", {"image": image.name}, wishes)
    _require_space(draft)
    _note_rejects(draft, sample, roles)


def _add_source_keys(draft: Draft, sample: Sample, roles: Roles, image: ImageColumn | None) -> None:
    """The id, the columns, and how the files are written; what is the default is left out."""
    if roles.id:
        draft.source["id"] = roles.id
        draft.id_remark = "complete and unique in what was looked at"
    else:
        encoded = sorted({*roles.fields, *([image.name] if image else [])})
        rule = choose_rule([content_id(record.values, encoded) for record in sample.records])
        draft.source["generate_id"] = rule
        draft.id_remark = (
            "no column is an id, so one is made of the content"
            if rule == "content"
            else "no column is an id, and some contents are there twice, so the row is the id"
        )
    settings = sample.settings
    if draft.source["kind"] == "csv":
        keys = {"delimiter": settings.delimiter, "escape": settings.escape,
                "comment": settings.comment, "columns": settings.columns}  # fmt: skip
        defaults = {"delimiter": ","}
        draft.source |= {k: v for k, v in keys.items() if v is not None and v != defaults.get(k)}
    if settings.encoding != "utf-8":
        draft.source["encoding"] = settings.encoding
    if image and image.root:
        draft.source["image_root"] = image.root
    draft.source["metadata"] = dict(roles.metadata)


def _on_texts(columns: Mapping[str, Column], roles: Roles) -> tuple[str, ...]:
    longest = max(columns[name].longest for name in roles.fields)
    if longest <= LONG_TEXT:
        return ()
    return (
        f'overflow = "mean"  # or "rows": the longest text has {longest:,} characters, '
        "and a model reads only the beginning",
    )


def _add_space(
    draft: Draft,
    modality: Modality,
    content: Mapping[str, Any],
    wishes: EncoderWishes,
    remarks: tuple[str, ...] = (),
) -> None:
    named = (wishes.text, None) if modality == "text" else (wishes.image, wishes.image_weights)
    try:
        encoder = choose_encoder(modality, *named)
    except EncoderError as error:
        if named[0] is not None:
            raise
        draft.doubts.append(f"NO SPACE FOR {modality.upper()}S: {error}")
        return
    _note_encoder(draft, modality, encoder)
    settings = {"name": modality, **encoder.settings, **content}
    draft.spaces.append(SpaceDraft(settings=settings, remarks=(encoder.reason, *remarks)))


def _note_encoder(draft: Draft, modality: Modality, encoder: DefaultEncoder) -> None:
    shown = " ".join(encoder.settings.values())
    if encoder.is_fallback:
        draft.doubts.append(f"FALLBACK for {modality}s: {shown}: {encoder.reason}")
    else:
        draft.seen.append(f"{modality}s are encoded by {shown}: {encoder.reason}")


def _require_space(draft: Draft) -> None:
    """Raises UserMistake where no encoder can be used."""
    if not draft.spaces:
        reasons = [doubt for doubt in draft.doubts if doubt.startswith("NO SPACE")]
        raise UserMistake(
            "there is nothing to encode" + ("" if reasons else ": no text and no image"),
            item=draft.source["uri"],
            do="\n  ".join(reasons),
        )


def _note_rejects(draft: Draft, sample: Sample, roles: Roles) -> None:
    """Say what a gate may refuse: its limit is the owner's to set."""
    total = len(sample.records) + len(sample.unreadable)
    blank = sum(
        bool(texts) and not any(text.strip() for text in texts)
        for record in sample.records
        if (texts := [t for n in roles.fields if isinstance(t := record.values.get(n), str) and t])
    )
    lost = len(sample.unreadable) + blank
    if lost:
        draft.doubts.append(
            f"{lost:,} of {total:,} records cannot be read or have a blank text; with more than "
            "1 % of rejects a run is refused, unless `max_reject_share` in [gates] allows them"
        )
