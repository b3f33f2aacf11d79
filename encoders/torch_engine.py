"""PyTorch as an engine: every CUDA device, and CPUs where OpenVINO is not wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.engine import Arrays
from encoders.errors import DeviceFull
from encoders.spec import Precision

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """A module on a device; on CUDA one batch computes while the next is prepared."""

    def __init__(self, module: torch.nn.Module, device: str, precision: Precision = "fp32") -> None:
        """precision: `fp16` and `bf16` compute so under autocast, weights stay in fp32."""
        self._device = torch.device(device)
        self._module = module.to(self._device).eval().requires_grad_(False)
        self._half = _HALF.get(precision)
        self.name = f"torch {torch.__version__}"

    def run(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        """As `Engine.run`. A row that overflows in half precision comes out as it is: NaN."""
        running: torch.Tensor | None = None
        for batch in batches:
            started = self._start(batch)
            if running is not None:
                yield _fetch(running)
            running = started
        if running is not None:
            yield _fetch(running)

    def _start(self, batch: Arrays) -> torch.Tensor:
        half: Any = nullcontext()
        if self._half is not None:
            half = torch.autocast(self._device.type, dtype=self._half)
        try:
            with torch.inference_mode(), half:
                output: torch.Tensor = self._module(*(self._placed(array) for array in batch))
                return output.float()
        except torch.cuda.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise DeviceFull from error

    def _placed(self, array: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _fetch(output: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = output.cpu().numpy()
    return array
