"""The names of spaces, parsed here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from commonspace.pipeline.errors import NotPublished, UserMistake

_NAME = re.compile(r"[a-z0-9_-]+")
_REFERENCE = re.compile(r"([a-z0-9_-]+)/([a-z0-9_-]+)(?:/v([0-9]+))?")
_REFERENCE_WITHIN = re.compile(r"([a-z0-9_-]+)(?:/v([0-9]+))?")


def is_name(folder: str) -> bool:
    """Whether a folder of a warehouse may be that of a collection or of a space."""
    return _NAME.fullmatch(folder) is not None


@dataclass(frozen=True)
class SpaceName:
    """`collection/space/vN`, the name consumers use."""

    collection: str
    space: str
    version: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.space}/v{self.version}"

    @classmethod
    def parse(cls, text: str) -> SpaceName:
        """The name out of `collection/space/vN`.

        Raises:
            NotPublished: the text is not the name of a space, or lacks the version.
        """
        reference = SpaceReference.parse(text)
        if reference.version is None:
            raise NotPublished(
                f"{text!r} lacks the version of the space: write {text}/v1",
                do="`commonspace show` lists what there is.",
            )
        return cls(reference.collection, reference.space, reference.version)

    @property
    def table(self) -> str:
        """The name of the LanceDB table."""
        return f"{self.collection}__{self.space}__v{self.version}"

    @property
    def folder(self) -> str:
        """`space-vN`: the space's folder within one of its collection's runs."""
        return f"{self.space}-v{self.version}"


@dataclass(frozen=True)
class SpaceReference:
    """A space as a person refers to it; without a version, the newest one is meant."""

    collection: str
    space: str
    version: int | None

    @classmethod
    def parse(cls, text: str) -> SpaceReference:
        """`collection/space` or `collection/space/vN`.

        Raises:
            NotPublished: the text is neither.
        """
        match = _REFERENCE.fullmatch(text)
        if not match:
            raise NotPublished(
                f"{text!r} is not the name of a space: write collection/space or "
                "collection/space/v1",
                do="`commonspace show` lists what there is.",
            )
        return cls(match[1], match[2], int(match[3]) if match[3] else None)

    @classmethod
    def parse_within(cls, collection: str, text: str) -> SpaceReference:
        """`space` or `space/vN` of a collection that is known.

        Raises:
            UserMistake: the text is neither.
        """
        match = _REFERENCE_WITHIN.fullmatch(text)
        if not match:
            raise UserMistake(
                f"{text!r} is not the name of a space of {collection}: write space or space/v1",
                do=f"`commonspace show {collection}` lists its spaces.",
            )
        return cls(collection, match[1], int(match[2]) if match[2] else None)
