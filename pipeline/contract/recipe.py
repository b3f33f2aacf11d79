"""The content recipe: what of a record an encoder sees, so that one space has one meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the content of a space is made of the columns of a record.

    How the values are read out of files (the kind of source, its encoding, its folders) is not
    part of it: that changes with the files, and the values stay the same.

    Attributes:
        fields: The columns whose texts are joined, in this order; empty for images.
        image: The column of the image; None for texts.
        rule: By which rule the values become a content. Another rule has another name.
    """

    fields: tuple[str, ...] = ()
    image: str | None = None
    rule: str

    def __str__(self) -> str:
        """`fields title, text (lines-nfc-1)`."""
        columns = f"image {self.image}" if self.image else f"fields {', '.join(self.fields)}"
        return f"{columns} ({self.rule})"

    def to_json(self) -> dict[str, Any]:
        """Every attribute by its name."""
        return {**asdict(self), "fields": list(self.fields)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The recipe that `to_json` wrote.

        Raises:
            TypeError, KeyError, AttributeError: it is damaged.
        """
        return cls(fields=tuple(value["fields"]), image=value["image"], rule=str(value["rule"]))


def recipe_differences(old: Recipe, new: Recipe) -> list[str]:
    """Each difference as `fields: title -> title, text`."""
    before, after = _shown(old), _shown(new)
    return [f"{key}: {before[key]} -> {after[key]}" for key in before if before[key] != after[key]]


def _shown(recipe: Recipe) -> dict[str, str]:
    return {
        "fields": ", ".join(recipe.fields) or "nothing",
        "image": recipe.image or "nothing",
        "content rule": recipe.rule,
    }
