"""A canary of the `hashed` encoder, and what a run reports of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from commonspace.encoders import catalog
from commonspace.encoders.hashed import HashedEncoder
from commonspace.pipeline.canary.reference import Canary
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import canary_key
from tests.support.warehouse import NAME

FILE = canary_key(NAME)
ENCODER = HashedEncoder(64, "text")
CONTRACT = Contract.of(NAME, ENCODER.spec, {})


def canary_gate(report: Any) -> dict[str, Any]:
    return next(dict(gate) for gate in report["gates"] if gate["name"] == "canary")


def reference(encoder: HashedEncoder = ENCODER) -> Canary:
    probes = catalog.probes(encoder.spec.modality)
    origin = {
        "fingerprint": encoder.spec.fingerprint, "run": "earlier", "device": "cpu", "versions": {},
    }  # fmt: skip
    return Canary(probes, encoder.encode(probes).vectors, [None] * 32, origin)


def rotated(canary: Canary, probe: int, angle: float) -> Canary:
    """The reference with one vector turned by `angle` radians."""
    vectors = canary.vectors.astype(np.float64)
    side = np.roll(vectors[probe], 1)
    side -= (side @ vectors[probe]) * vectors[probe]
    side /= np.linalg.norm(side)
    vectors[probe] = np.cos(angle) * vectors[probe] + np.sin(angle) * side
    return replace(canary, vectors=vectors.astype(np.float32))
