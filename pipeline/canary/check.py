"""The canary check: does an encoder still make the vectors that it made for the reference?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from commonspace.encoders.protocol import Content, Encoder
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import angles
from commonspace.pipeline.canary.library_versions import installed_versions
from commonspace.pipeline.canary.probes import encode_probes
from commonspace.pipeline.canary.reference import Canary
from commonspace.pipeline.gates.gate import Gate


@dataclass(frozen=True)
class CanaryCheck:
    """How far an encoder's vectors of the probes are from the reference vectors.

    angle: the largest one, in radians, that of the probe `probe` (its row in canary.parquet).
    fault: how that probe has a vector on one side only; empty where all have both or neither.
    first: whether this check made the reference, and there was nothing to compare with.
    """

    angle: float
    limit: float
    probe: int
    device: str
    canary: Canary
    fault: str = ""
    retry: bool = False
    first: bool = False

    @property
    def ok(self) -> bool:
        return not self.fault and self.angle <= self.limit

    @property
    def what(self) -> str:
        """What differs, in a sentence."""
        difference = self.fault or f"is {self.angle:.3g} rad from its reference vector"
        return (
            f"the encoder makes other vectors than run {self.canary.origin['run']} did: probe "
            f"{self.probe} ({_excerpt(self.canary.probes[self.probe])}) {difference}; its spec "
            f"allows {self.limit:g} rad"
        )

    @property
    def gate(self) -> Gate:
        """The gate over this check alone; no value where there is no angle to measure."""
        return Gate("canary", self.ok, None if self.fault else self.angle, self.limit, self.what)

    @property
    def do(self) -> str:
        """What may have changed since the reference was made, and what to do."""
        then, now = self.canary.origin["versions"], installed_versions()
        changed = [
            f"{name} {then.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        ]
        if (device := self.canary.origin["device"]) != self.device:
            changed.insert(0, f"device {device} -> {self.device}")
        changes = "; ".join(changed) or "no version: look at processor, drivers and threads"
        return (
            f"The model's files are the same. Changed since then: {changes}.\n"
            f"  {self.canary.remedy}"
        )

    @property
    def note(self) -> CanaryNote:
        """What a run leaves of it for `validate`."""
        return CanaryNote(
            ok=self.ok,
            largest_angle=self.angle,
            limit=self.limit,
            probe=self.probe,
            fault=self.fault,
            device=self.device,
            first=self.first,
        )


@dataclass(frozen=True, kw_only=True)
class CanaryNote:
    """The result of one process's canary check, without the probes; fields as in `CanaryCheck`."""

    FILE: ClassVar[str] = "canary-*.json"

    ok: bool
    largest_angle: float
    limit: float
    probe: int
    fault: str
    device: str
    first: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**{field.name: document[field.name] for field in fields(cls)})


def check_canary(canary: Canary, encoder: Encoder) -> CanaryCheck:
    """Encode the probes and compare their vectors with the reference.

    The check also fails where a probe has a vector on one side only.

    Raises:
        ContractBroken: the encoder breaks its protocol.
    """
    spec = encoder.spec
    vectors, failures = encode_probes(canary.probes, encoder)
    expected = np.array([reason is None for reason in canary.reasons])
    encoded = np.array([probe not in failures for probe in range(len(expected))])
    by_probe = np.where(expected & encoded, angles(vectors, canary.vectors), 0.0)
    angle, probe, fault, retry = float(by_probe.max()), int(by_probe.argmax()), "", False
    if (expected != encoded).any():
        probe = int((expected != encoded).argmax())
        failure = failures.get(probe)
        fault = f"gets no vector ({failure.message})" if failure else "has a vector and had none"
        retry = failure is not None and failure.retryable
    return CanaryCheck(angle, spec.tolerance, probe, encoder.device, canary, fault, retry)


def canary_gate(notes: Sequence[CanaryNote], encoded_shards: int, spec: EncoderSpec) -> Gate:
    """The gate over all canary checks of a run; `encoded_shards`: how many it encoded itself."""
    passed = [note for note in notes if note.ok]
    if not passed:
        message = f"{encoded_shards} shards were encoded and no canary was checked"
        if not encoded_shards:
            message = "this run made no vectors, so no canary was checked"
        return Gate("canary", not encoded_shards, None, spec.tolerance, message)
    angle = float(max(note.largest_angle for note in passed))
    message = f"the probes' largest angle is {angle:.3g} rad (tolerance {spec.tolerance:g})"
    if all(note.first for note in passed):
        message = "the reference vectors were made: there was nothing to compare with yet"
    return Gate("canary", angle <= spec.tolerance, angle, spec.tolerance, message)


def _excerpt(probe: Content) -> str:
    return f"{len(probe):,} bytes" if isinstance(probe, bytes) else repr(probe[:30])
