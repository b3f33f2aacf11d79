"""The canary check before a run encodes anything; it makes the reference where there is none."""

from __future__ import annotations

import numpy as np

from commonspace.encoders import catalog
from commonspace.encoders.protocol import Encoder
from commonspace.encoders.vectors import angles
from commonspace.pipeline.canary.check import CanaryCheck, check_canary
from commonspace.pipeline.canary.library_versions import installed_versions
from commonspace.pipeline.canary.probes import encode_probes
from commonspace.pipeline.canary.reference import (
    Canary,
    read_candidate_canary,
    read_published_canary,
)
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
    """Check the canary of a space; where it has none, make one.

    A new canary is stored beside the finished shards that no release holds yet, so that all
    workers and runs that share those shards compare with the first of them.

    Args:
        run: the id of the run that checks; a new canary names it as its origin.
        pinned: sha256 of the published canary as the release names it, if it names one.

    Raises:
        ContractBroken: the stored canary is damaged, missing or another than the release's, or
            the encoder breaks its protocol.
        GateRefused: there is no canary, and none can be made from this encoder's vectors.
    """
    key = candidate_canary_key(name, contract.fingerprint)
    canary = _stored_canary(store, name, contract, pinned)
    if canary is None:
        canary = _make_canary(encoder, run, str(name))
        if store.put_if_absent(key, canary.to_bytes(contract.spec)):
            return CanaryCheck(0.0, contract.spec.tolerance, 0, encoder.device, canary, first=True)
        # Another process was quicker: its canary is the reference.
        canary = _stored_canary(store, name, contract, pinned) or canary
    return check_canary(canary, encoder)


def _stored_canary(
    store: Store, name: SpaceName, contract: Contract, pinned: str | None
) -> Canary | None:
    published = read_published_canary(store, name, contract, pinned)
    return published or read_candidate_canary(store, name, contract)


def _make_canary(encoder: Encoder, run: str, space: str) -> Canary:
    """The probes of the encoder's modality with its vectors. Raises GateRefused."""
    probes = catalog.probes(encoder.spec.modality)
    vectors, failures = encode_probes(probes, encoder)
    transient = [failure for failure in failures.values() if failure.retryable]
    if transient or len(failures) == len(probes):
        message = (transient or list(failures.values()))[0].message
        raise GateRefused(
            f"the canary's probes cannot be encoded: {message}",
            item=space,
            retry=bool(transient),
            do="Nothing was encoded.",
        )
    made = np.delete(vectors, list(failures), axis=0)
    if angles(made, np.broadcast_to(made[0], made.shape)).max() <= encoder.spec.tolerance:
        raise GateRefused(
            "the encoder gives every probe of the canary the same vector",
            item=space,
            do="Check the encoder's weights. Nothing was encoded.",
        )
    origin = {
        "fingerprint": encoder.spec.fingerprint,
        "run": run,
        "device": encoder.device,
        "versions": installed_versions(),
    }
    reasons = [str(failures[n].reason) if n in failures else None for n in range(len(probes))]
    return Canary(probes, vectors, reasons, origin)
