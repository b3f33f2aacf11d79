"""pipeline/canary/first.py"""

from __future__ import annotations

import numpy as np

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder
from commonspace.encoders.vectors import angles
from commonspace.pipeline.canary.check import CanaryCheck, _encode, check_canary
from commonspace.pipeline.canary.reference import (
    Canary,
    candidate_canary,
    published_canary,
)
from commonspace.pipeline.canary.versions import installed_versions
from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.contract.layout import candidate_canary_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import GateRefused
from commonspace.pipeline.storage.store import Store


def check_before_encoding(
    store: Store,
    name: SpaceName,
    contract: Contract,
    encoder: Encoder,
    *,
    run: str,
    pinned: str | None,
) -> CanaryCheck:
    """The flight before a run encodes anything; a space without a canary gets one.

    Whatever was encoded under a canary and is in no release yet lies beside it, so workers and
    runs that share finished shards compare with each other from the first one on.

    Raises ContractBroken as `published_canary`, GateRefused where no probe can be encoded.
    """

    def known() -> Canary | None:
        return published_canary(store, name, contract, pinned) or candidate_canary(
            store, name, contract
        )

    canary = known()
    if canary is None:
        made = _first_canary(encoder, run, str(name))
        if store.put_if_absent(
            candidate_canary_key(name, contract.fingerprint), made.to_bytes(contract.spec)
        ):
            return CanaryCheck(0.0, contract.spec.tolerance, 0, encoder.device, made, first=True)
        canary = known() or made  # a twin was quicker
    return check_canary(canary, encoder)


def _first_canary(encoder: Encoder, run: str, space: str) -> Canary:
    probes = catalog.probes(encoder.spec.modality)
    vectors, failures = _encode(probes, encoder)
    passing = [failure for failure in failures.values() if failure.retryable]
    if passing or len(failures) == len(probes):
        said = (passing or list(failures.values()))[0].message
        what = f"the canary's probes cannot be encoded: {said}"
        raise GateRefused(what, item=space, retry=bool(passing), do="Nothing was encoded.")
    there = np.delete(vectors, list(failures), axis=0)
    if angles(there, np.broadcast_to(there[0], there.shape)).max() <= encoder.spec.tolerance:
        what = "every probe of the canary gets the same vector: the encoder tells nothing apart"
        raise GateRefused(what, item=space, do="Look at its weights. Nothing was encoded.")
    origin = {
        "fingerprint": encoder.spec.fingerprint,
        "run": run,
        "device": encoder.device,
        "versions": installed_versions(),
    }
    reasons = [str(failures[n].reason) if n in failures else None for n in range(len(probes))]
    return Canary(probes, vectors, reasons, origin)
