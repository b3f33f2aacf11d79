"""A network compiled by `torch.compile`, and compared with the same network run eagerly.

Inductor fuses what stands between a network's convolutions. Compiling takes tens of seconds for
each process and shape, so it is off unless `COMMONSPACE_COMPILE=1` switches it on, for long runs.
Batches have one shape (`ImageBatches` fills the last one), as each new shape is compiled again.
CUDA graphs (`mode="reduce-overhead"`) are not used: they save kernel launches, which a batch of
128 images hides, and the next batch would overwrite an output before it is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commonspace.encoders.engines.agreement import (
    FP32_TOLERANCE,
    require_agreement,
    switch_off_advice,
)
from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError
from commonspace.encoders.spec import EncoderSpec

_WITHOUT = switch_off_advice("Unset COMMONSPACE_COMPILE", speed="but a long run is slower")


def choose_compile(device: str) -> bool:
    """Whether networks are to be compiled for `device`: `COMMONSPACE_COMPILE` decides.

    Raises:
        EncoderError: a setting that is not valid, or the device is a CPU.
    """
    setting = os.environ.get("COMMONSPACE_COMPILE", "")
    if setting not in ("", "0", "1"):
        raise EncoderError(
            f"COMMONSPACE_COMPILE is {setting!r}", do="Set it to 1 to compile, or unset it."
        )
    if setting == "1" and device == "cpu":
        raise EncoderError(
            "COMMONSPACE_COMPILE is '1', which compiles for CUDA, but the device is a CPU",
            do="Unset it, or run on a machine with a CUDA device.",
        )
    return setting == "1"


class CompiledEngine:
    """Runs the compiled network; the first batch of each shape is compared with `exact`."""

    def __init__(
        self,
        module: torch.nn.Module,
        device: str,
        spec: EncoderSpec,
        exact: Engine,
        *,
        backend: str | Callable[..., Any] = "inductor",
    ) -> None:
        """Set up the compilation, which happens at the first batch of a shape.

        Args:
            module: the network, which `exact` runs eagerly in fp32.
            device: where to compute.
            spec: decides the precision and, in half precision, the tolerance.
            exact: the engine to compare with.
            backend: as `torch.compile` takes it.
        """
        compiled: Any = torch.compile(module, fullgraph=True, dynamic=False, backend=backend)
        precision = "fp32" if device == "cpu" else spec.precision
        self._engine = TorchEngine(compiled, device, precision)
        self._exact, self._item = exact, spec.label
        self._tolerance = FP32_TOLERANCE if precision == "fp32" else spec.tolerance
        self._compared: set[tuple[int, ...]] = set()
        self.name = f"{self._engine.name} compiled"

    def run(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        """As `Engine.run`.

        Raises:
            DeviceOutOfMemory: as `Engine.run`.
            EncoderError: the module cannot be compiled, or its vectors differ from `exact`'s.
        """
        return self._engine.run(self._compared_by_shape(batches))

    def _compared_by_shape(self, batches: Iterable[Arrays]) -> Iterator[Arrays]:
        for batch in batches:
            shape = tuple(length for array in batch for length in array.shape)
            if shape not in self._compared:
                self._compare(batch)
                self._compared.add(shape)
            yield batch

    def _compare(self, batch: Arrays) -> None:
        try:
            (vectors,) = self._engine.run([batch])
        except (DeviceOutOfMemory, EncoderError):
            raise
        # A compiler's own errors are of many kinds, a missing C compiler among them.
        except Exception as error:
            message = (str(error).splitlines() or [type(error).__name__])[0]
            raise EncoderError(
                f"the network cannot be compiled: {message}", item=self._item, do=_WITHOUT
            ) from error
        (expected,) = self._exact.run([batch])
        # Rows that overflowed in half precision are computed again in fp32: not compared here.
        finite = np.isfinite(vectors).all(axis=1)
        require_agreement(
            vectors[finite],
            expected[finite],
            tolerance=self._tolerance,
            engine="the compiled network",
            item=self._item,
            do=_WITHOUT,
        )
