"""The encoder spec: everything that decides what a vector means, and nothing else.

Two vectors may be compared if and only if the fingerprints of their specs are equal. Device, batch
size, threads and paths are not part of a spec: they may change speed, never meaning.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

Modality = Literal["text", "image"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]

TOLERANCE: Mapping[Precision, float] = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 2e-1, "int8": 5e-2}
"""Largest angle in radians between two machines' vectors of one content, by precision.

Measured: fp32 7e-6 between torch and OpenVINO; bf16 in other batches 0.13 at worst, so 0.2, beside
which little drift is seen: choose fp16 where there is a choice.
"""


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """A frozen description of an encoder; equal fingerprints mean comparable vectors.

    Its fields are what the fingerprint is computed from: a new one changes every fingerprint.
    """

    kind: str
    """Which loader built it: `sentence-transformers`, `clip`, `torchvision`, `timm` or `hashed`."""
    modality: Modality
    architecture: str
    weights: str
    """`sha256:<hex>` of the weights file, `none`, or `untrained:…` with the seed."""
    trained: bool
    """False for random weights: such vectors carry no meaning beyond low-level texture."""
    files: Mapping[str, str] = field(default_factory=dict)
    """sha256 of every further model file that decides a vector (tokenizer, configuration)."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """What is done to a content before the network sees it; the keys depend on `kind`."""
    layer: str = ""
    """The part of the network whose output is taken."""
    pooling: str = ""
    """How that output becomes one vector; empty where it is one already."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Prefixes by purpose: `document` and `query`."""
    max_tokens: int | None = None
    overflow: str = ""
    """How text beyond `max_tokens` is treated: `truncate` drops it, `mean` averages the vectors of
    its windows, weighted by their tokens, `rows` gives each passage a row; empty where there is
    no limit."""
    normalised: bool = True
    """True: every vector has Euclidean norm 1 (to 1e-3)."""
    dim: int
    metric: Literal["cosine"] = "cosine"
    dtype: Literal["float32"] = "float32"
    full_dim: int | None = None
    """The width of the model's output where only its first `dim` are kept (Matryoshka)."""
    queries: tuple[Modality, ...] = ()
    """Modalities beside its own that a query may have: `text` where texts find images."""
    precision: Precision = "fp32"
    """What it computes in; a device may compute in more (a CPU runs fp16 models in fp32)."""
    tolerance: float = TOLERANCE["fp32"]
    """Largest angle in radians between the vectors that two machines compute of one content."""

    def to_json(self) -> dict[str, Any]:
        """Every field by its name."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EncoderSpec:
        """The spec that `to_json` wrote; keys of later versions are ignored."""
        known = {f.name for f in fields(cls)}
        values = {key: value[key] for key in value if key in known}
        return cls(**{**values, "queries": tuple(values.get("queries", ()))})

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of the spec's canonical JSON: sorted keys, no spaces, UTF-8."""
        canonical = json.dumps(
            self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def label(self) -> str:
        """A short name for people; it says so if the weights are untrained."""
        name = f"{self.kind}/{self.architecture}"
        name += "" if self.precision == "fp32" else f" {self.precision}"
        return name if self.trained else f"{name} (UNTRAINED)"


@dataclass(frozen=True)
class Difference:
    """One key in which two specs differ."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_short(self.old)} -> {_short(self.new)}"


def differences(old: EncoderSpec, new: EncoderSpec) -> list[Difference]:
    """Every key in which the two specs differ, nested keys dotted, in sorted order."""
    before, after = dict(_flatten(old.to_json())), dict(_flatten(new.to_json()))
    return [
        Difference(key, before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flatten(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(inner) if isinstance(inner, tuple) else inner


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:24]}…"
