"""What an engine is: batches of arrays in, their vectors out, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[Any]]
"""The inputs of one batch, in the order in which the model takes them."""


class Engine(Protocol):
    """A loaded network on some device."""

    @property
    def name(self) -> str:
        """The library and its version, such as `torch 2.13.0`."""
        ...

    def run(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        """The vectors (rows, dim) float32 of each batch, in order.

        Some batches are computed ahead of the consumer.

        Raises:
            DeviceOutOfMemory: the device has no memory for one of the batches not yet yielded.
        """
        ...
