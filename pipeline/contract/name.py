"""pipeline/contract/name.py"""

from __future__ import annotations

import re
from dataclasses import dataclass

from commonspace.pipeline.errors import NotPublished


@dataclass(frozen=True)
class SpaceName:
    """`collection/space/vN`, the name consumers use."""

    collection: str
    space: str
    version: int

    def __str__(self) -> str:
        return f"{self.collection}/{self.space}/v{self.version}"

    @property
    def table(self) -> str:
        """The name of the LanceDB table."""
        return f"{self.collection}__{self.space}__v{self.version}"

    def key(self, rest: str) -> str:
        return f"{self}/{rest}"


def parse_name(text: str) -> tuple[str, str, int | None]:
    """`collection/space` or `collection/space/vN`. Raises NotPublished for anything else."""
    match = re.fullmatch(r"([a-z0-9_-]+)/([a-z0-9_-]+)(?:/v([0-9]+))?", text)
    if not match:
        raise NotPublished(
            f"{text!r} names no space: write collection/space or collection/space/v1",
            do="`commonspace show` lists what there is.",
        )
    return match[1], match[2], int(match[3]) if match[3] else None
