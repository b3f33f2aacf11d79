"""Vectors that must not be published: not finite, zero, or not of unit norm."""

from __future__ import annotations

from commonspace.encoders.spec import EncoderSpec
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.gates.contents import Contents
from commonspace.pipeline.gates.gate import Gate


class UnusableVectors:
    """Counts the newly encoded vectors that break the spec; none may."""

    def __init__(self, spec: EncoderSpec) -> None:
        self._spec, self._checked, self._bad = spec, 0, 0

    def update(self, contents: Contents) -> None:
        if contents.is_new:
            self._checked += len(contents.vectors)
            self._bad += int(bad_vectors(contents.vectors, self._spec).sum())

    def result(self) -> Gate:
        message = f"{self._bad} of {self._checked} vectors are not finite unit ones"
        return Gate("vectors", self._bad == 0, self._bad, 0, message)
