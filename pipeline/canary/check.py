"""A flight of the canary: does an encoder still make the vectors it made in the beginning?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.protocol import Content, Encoder, Failure, Reason
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import angles
from commonspace.pipeline.canary.reference import Canary
from commonspace.pipeline.canary.versions import installed_versions
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.gates.gate import Gate


@dataclass(frozen=True)
class CanaryCheck:
    """How far an encoder's vectors of the probes stand from the reference ones.

    angle: the largest, in radians, of probe `probe` (its row in canary.parquet).
    fault: how that probe has a vector on one side only; empty where all have both or neither.
    first: it made the reference; there was nothing to compare with.
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
        """The breach in a sentence."""
        moved = self.fault or f"lies {self.angle:.3g} rad from its reference vector"
        return (
            f"the encoder makes other vectors than run {self.canary.origin['run']} did: probe "
            f"{self.probe} ({_excerpt(self.canary.probes[self.probe])}) {moved}; its spec allows "
            f"{self.limit:g} rad"
        )

    @property
    def gate(self) -> Gate:
        """The gate over this flight alone; no value where there is no angle to measure."""
        return Gate("canary", self.ok, None if self.fault else self.angle, self.limit, self.what)

    @property
    def do(self) -> str:
        """What may have changed, and the ways out."""
        then, now = self.canary.origin["versions"], installed_versions()
        changed = [
            f"{name} {then.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        ]
        if (device := self.canary.origin["device"]) != self.device:
            changed.insert(0, f"device {device} -> {self.device}")
        found = "; ".join(changed) or "nothing by name: look at processor, drivers and threads"
        said = f"The model's files are the same. Changed since then: {found}."
        return f"{said}\n  {self.canary.remedy}"

    def to_json(self) -> dict[str, Any]:
        """What a run notes of it."""
        return {
            "ok": self.ok,
            "largest_angle": self.angle,
            "limit": self.limit,
            "probe": self.probe,
            "fault": self.fault,
            "device": self.device,
            "first": self.first,
        }


def check_canary(canary: Canary, encoder: Encoder) -> CanaryCheck:
    """Encode the probes and compare. Raises ContractBroken where the encoder breaks its protocol.

    A probe that fails where the reference has a vector is a breach, and the other way round.
    """
    spec = encoder.spec
    vectors, failures = _encode(canary.probes, encoder)
    had = np.array([reason is None for reason in canary.reasons])
    has = np.array([probe not in failures for probe in range(len(had))])
    apart = np.where(had & has, angles(vectors, canary.vectors), 0.0)
    angle, probe, fault, retry = float(apart.max()), int(apart.argmax()), "", False
    if (had != has).any():
        probe = int((had != has).argmax())
        failure = failures.get(probe)
        fault = f"gets no vector ({failure.message})" if failure else "has a vector and had none"
        retry = failure is not None and failure.retryable
    return CanaryCheck(angle, spec.tolerance, probe, encoder.device, canary, fault, retry)


def canary_gate(flights: Sequence[Mapping[str, Any]], encoded: int, spec: EncoderSpec) -> Gate:
    """The gate over a run's flights, as they were noted; `encoded`: shards it made itself."""
    passed = [flight for flight in flights if flight["ok"]]
    if not passed:
        said = f"{encoded} shards were encoded and no canary was flown"
        if not encoded:
            said = "this run made no vectors, so no canary was flown"
        return Gate("canary", not encoded, None, spec.tolerance, said)
    worst = max(passed, key=lambda flight: flight["largest_angle"])
    angle = float(worst["largest_angle"])
    said = f"the probes' largest angle is {angle:.3g} rad (tolerance {spec.tolerance:g})"
    if all(flight["first"] for flight in passed):
        said = "the reference vectors were made: there was nothing to compare with yet"
    return Gate("canary", angle <= spec.tolerance, angle, spec.tolerance, said)


def _encode(
    probes: Sequence[Content], encoder: Encoder
) -> tuple[NDArray[np.float32], dict[int, Failure]]:
    """(n, dim) float32, zeros for the failures, which unusable vectors are among."""
    spec, encoded = encoder.spec, encoder.encode(probes)
    at = encoded.positions.tolist()
    outcomes = sorted([*at, *encoded.failures])
    if encoded.vectors.shape != (len(at), spec.dim) or outcomes != list(range(len(probes))):
        raise ContractBroken(
            f"the encoder gave vectors of shape {encoded.vectors.shape} and "
            f"{len(encoded.failures)} failures for {len(probes)} probes of {spec.dim} dimensions",
            item=spec.label,
        )
    failures = dict(encoded.failures)
    vectors = np.zeros((len(probes), spec.dim), np.float32)
    for probe, vector, bad in zip(
        at, encoded.vectors, bad_vectors(encoded.vectors, spec), strict=True
    ):
        if bad:
            failures[probe] = Failure(Reason.BAD_VECTOR, "a vector not finite or not of unit norm")
        else:
            vectors[probe] = vector
    return vectors, failures


def _excerpt(probe: Content) -> str:
    return f"{len(probe):,} bytes" if isinstance(probe, bytes) else repr(probe[:30])
