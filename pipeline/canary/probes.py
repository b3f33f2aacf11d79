"""Encode the probes of a canary, with the checks that every encoder's answer gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.protocol import Content, Encoder, Failure, Reason
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.errors import ContractBroken


def encode_probes(
    probes: Sequence[Content], encoder: Encoder
) -> tuple[NDArray[np.float32], dict[int, Failure]]:
    """Encode the probes of a canary.

    Returns:
        (n, dim) float32, one row a probe, unit vectors, zeros for a failed probe; and the failures
        by probe, a vector that is not finite or not of unit norm among them.

    Raises:
        ContractBroken: the encoder does not answer for each probe as its protocol says.
    """
    spec, encoded = encoder.spec, encoder.encode(probes)
    encoded_probes = encoded.positions.tolist()
    answered = sorted([*encoded_probes, *encoded.failures])
    is_complete = answered == list(range(len(probes)))
    if encoded.vectors.shape != (len(encoded_probes), spec.dim) or not is_complete:
        raise ContractBroken(
            f"the encoder gave vectors of shape {encoded.vectors.shape} and "
            f"{len(encoded.failures)} failures for {len(probes)} probes of {spec.dim} dimensions",
            item=spec.label,
        )
    failures = dict(encoded.failures)
    vectors = np.zeros((len(probes), spec.dim), np.float32)
    is_bad = bad_vectors(encoded.vectors, spec)
    for probe, vector, bad in zip(encoded_probes, encoded.vectors, is_bad, strict=True):
        if bad:
            failures[probe] = Failure(Reason.BAD_VECTOR, "a vector is not finite or not of norm 1")
        else:
            vectors[probe] = vector
    return vectors, failures
