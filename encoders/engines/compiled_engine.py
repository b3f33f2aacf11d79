"""A compiled network: the same module through `torch.compile`, held to the eager one.

Inductor fuses what stands between a network's convolutions; it takes tens of seconds a process and
a shape, so it is asked for (`COMMONSPACE_COMPILE=1`), for long runs. Batches have one shape
(`ImageBatches` fills the last), or each new length would be compiled anew. Not CUDA graphs
(`mode="reduce-overhead"`): they save launches, which a batch of 128 images hides, and their outputs
lie where the next batch writes, while our next batch runs before an output is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.vectors import largest_angle

CLOSE = 1e-4
"""Radians between eager and compiled vectors in fp32; in half precision, the spec's tolerance."""
_OTHERWISE = "Unset COMMONSPACE_COMPILE: slower in a long run, the same vectors."


def choose_compile(device: str) -> bool:
    """Whether networks are to be compiled for `device`: `COMMONSPACE_COMPILE` decides.

    Raises:
        EncoderError: a setting that is not valid, or the device is a CPU.
    """
    wanted = os.environ.get("COMMONSPACE_COMPILE", "")
    if wanted not in ("", "0", "1"):
        raise EncoderError(
            f"COMMONSPACE_COMPILE is {wanted!r}", do="Set it to 1 to compile, or unset it."
        )
    if wanted == "1" and device == "cpu":
        raise EncoderError(
            "COMMONSPACE_COMPILE is '1', which compiles for CUDA, and the device is a CPU",
            do="Unset it, or compute where there is a CUDA device.",
        )
    return wanted == "1"


class CompiledEngine:
    """An engine whose every shape of batch is compared with `exact` when it is first met."""

    def __init__(
        self,
        module: torch.nn.Module,
        device: str,
        spec: EncoderSpec,
        exact: Engine,
        *,
        backend: str | Callable[..., Any] = "inductor",
    ) -> None:
        """module: what `exact` runs eagerly, in fp32; backend: of `torch.compile`."""
        compiled: Any = torch.compile(module, fullgraph=True, dynamic=False, backend=backend)
        precision = "fp32" if device == "cpu" else spec.precision
        self._engine = TorchEngine(compiled, device, precision)
        self._exact, self._item = exact, spec.label
        self._close = CLOSE if precision == "fp32" else spec.tolerance
        self._compared: set[tuple[int, ...]] = set()
        self.name = f"{self._engine.name} compiled"

    def run(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        """As `Engine.run`.

        Raises:
            DeviceFull: as `Engine.run`.
            EncoderError: the module cannot be compiled, or its vectors are others then.
        """
        return self._engine.run(self._known(batches))

    def _known(self, batches: Iterable[Arrays]) -> Iterator[Arrays]:
        for batch in batches:
            shape = tuple(length for array in batch for length in array.shape)
            if shape not in self._compared:
                self._compare(batch)
                self._compared.add(shape)
            yield batch

    def _compare(self, batch: Arrays) -> None:
        try:
            (found,) = self._engine.run([batch])
        except (DeviceOutOfMemory, EncoderError):
            raise
        # A compiler's own errors are of many kinds, a missing C compiler among them.
        except Exception as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise EncoderError(
                f"the network cannot be compiled: {said}", item=self._item, do=_OTHERWISE
            ) from error
        (expected,) = self._exact.run([batch])
        finite = np.isfinite(found).all(axis=1)  # the others overflowed: computed again in fp32
        angle = largest_angle(found[finite], expected[finite])
        if not angle <= self._close:
            raise EncoderError(
                f"compiled, its vectors lie {angle:.1e} rad from what they are",
                item=self._item,
                do=_OTHERWISE,
            )
