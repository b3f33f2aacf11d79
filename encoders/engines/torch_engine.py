"""PyTorch as an engine: for CUDA devices, and for CPUs without OpenVINO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.engines.device_errors import run_on_device
from commonspace.encoders.engines.engine import Arrays
from commonspace.encoders.engines.host_memory_errors import translated_memory_errors
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.errors import DeviceOutOfMemory, device_memory_error
from commonspace.encoders.spec import Precision

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


class TorchEngine:
    """A module on a device.

    On CUDA one batch is computed while the next is prepared. On a CPU several are computed side by
    side, each on one thread: where MKL splits a product over threads, a row's last bits depend on
    its place (measured on Zen 3: 6 rows of 64 numbers and two threads, rows 0 to 3 against 4 and
    5).
    """

    def __init__(self, module: torch.nn.Module, device: str, precision: Precision = "fp32") -> None:
        """Move the module to the device.

        Args:
            module: the network, with weights in fp32.
            device: `cpu`, `cuda` or `cuda:<number>`.
            precision: `fp16` and `bf16` compute under autocast; the weights stay in fp32.

        Raises:
            EncoderError: the device has failed, or has no memory for the weights.
        """
        self._device = torch.device(device)
        try:
            placed = run_on_device(module.to, self._device)
        except DeviceOutOfMemory as error:
            raise device_memory_error("the weights") from error
        self._module = placed.eval().requires_grad_(False)
        self._half = _HALF.get(precision)
        self.name = f"torch {torch.__version__}"

    def run(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        """As `Engine.run`. A row that overflows in half precision comes out as NaN.

        Raises:
            DeviceOutOfMemory: as `Engine.run`.
            EncoderError: CUDA has failed, in this batch or in one before it.
            MemoryError: the machine has no memory for a batch, on a CPU.
        """
        return self._on_cpu(batches) if self._device.type == "cpu" else self._on_cuda(batches)

    def _on_cpu(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        threads = choose_threads()
        with ThreadPoolExecutor(threads, initializer=_use_one_thread) as pool:
            # One more than can run, so that a batch is waiting when a thread falls idle.
            yield from bounded_map(pool, self._vectors, batches, threads + 1)

    def _vectors(self, batch: Arrays) -> NDArray[np.float32]:
        with translated_memory_errors():
            vectors: NDArray[np.float32] = run_on_device(self._output, batch).numpy()
        return vectors

    def _on_cuda(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        running: _Running | None = None
        for batch in batches:
            started = run_on_device(self._start, batch)
            if running is not None:
                yield run_on_device(running.finish)
            running = started
        if running is not None:
            yield run_on_device(running.finish)

    def _start(self, batch: Arrays) -> _Running:
        # Pinned memory and events belong to the current device, which need not be cuda:0.
        with torch.inference_mode(), torch.cuda.device(self._device):
            return _Running.start(self._output(batch))

    @torch.inference_mode()
    def _output(self, batch: Arrays) -> torch.Tensor:
        half: Any = nullcontext()
        if self._half is not None:
            half = torch.autocast(self._device.type, dtype=self._half)
        with half:
            output: torch.Tensor = self._module(*(self._to_device(array) for array in batch))
        return output.float()

    def _to_device(self, array: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cpu":
            return tensor
        # torch reuses the pinned memory only when the copy is done.
        return tensor.pin_memory().to(self._device, non_blocking=True)


def _use_one_thread() -> None:
    """Make this thread compute alone; torch keeps the number of helpers for each thread.

    It is read first, because the first read of a thread fetches what any other has set last.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)


@dataclass(frozen=True)
class _Running:
    """A batch's output on its way to the host, and the event that says it has arrived."""

    host: torch.Tensor
    done: torch.cuda.Event

    @classmethod
    def start(cls, output: torch.Tensor) -> _Running:
        # Copied before the next batch is queued: else the copy would wait for that batch, too.
        host = torch.empty(output.shape, dtype=output.dtype, pin_memory=True)
        host.copy_(output, non_blocking=True)
        # A blocking event sleeps while it waits and leaves the cores to the decoders.
        done: torch.cuda.Event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        return cls(host, done)

    def finish(self) -> NDArray[np.float32]:
        self.done.synchronize()
        # Copied out of pinned memory, which is scarce and needed for the next batch.
        array: NDArray[np.float32] = self.host.numpy().copy()
        return array
