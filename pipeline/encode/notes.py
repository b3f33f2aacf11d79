"""What a run leaves about each shard that it has encoded itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from commonspace.pipeline.gates.spot import SpotCheckResult
from commonspace.pipeline.workspace.notes import known_fields


@dataclass(frozen=True, kw_only=True)
class EncodeNote:
    """What one shard took, and how its spot check ended.

    Attributes:
        items: Items that were encoded; fewer than the shard's rows where parts of it were done.
        seconds: What encoding and storing them took.
        peak_rss_bytes: The largest memory of the process so far.
        device: That of the encoder.
        engine: That of the encoder.
        spots: None in the notes of early commits, and where nothing was compared.
    """

    FILE: ClassVar[str] = "encode-*.json"

    items: int
    seconds: float
    peak_rss_bytes: int
    device: str
    engine: str
    spots: SpotCheckResult | None = None

    def to_json(self) -> dict[str, Any]:
        spots = {} if self.spots is None else {"spots": self.spots.to_json()}
        return {
            "items": self.items,
            "seconds": self.seconds,
            "peak_rss_bytes": self.peak_rss_bytes,
            "device": self.device,
            "engine": self.engine,
            **spots,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        values = known_fields(cls, document)
        if values.get("spots") is not None:
            values["spots"] = SpotCheckResult.from_json(values["spots"])
        return cls(**values)


def items_per_second(notes: list[EncodeNote]) -> float | None:
    """The pace of all shards together; None where there are none."""
    seconds = sum(note.seconds for note in notes)
    return sum(note.items for note in notes) / seconds if seconds else None
