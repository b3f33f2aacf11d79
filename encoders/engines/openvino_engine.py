"""OpenVINO runs a model on a CPU, faster than PyTorch does (decision 0008), most of all in int8.

Each request computes on one thread and several run side by side, so that the bits of a vector
depend neither on the number of cores nor on how a matrix was split among them. Measurements
showed that they do not depend on the number of rows in a batch either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.engines.engine import Arrays
from commonspace.encoders.engines.host_memory_errors import translated_memory_errors
from commonspace.encoders.engines.openvino_import import openvino

_SETTINGS = {
    # Without it, a CPU with bfloat16 units silently computes in bfloat16.
    "INFERENCE_PRECISION_HINT": "f32",
    "ENABLE_CPU_PINNING": False,
}


def save_network(network: openvino.Model, path: Path) -> None:
    """Write the network to the path, an `.xml` file, and its numbers to the `.bin` beside it.

    Raises:
        OSError: they cannot be written.
    """
    try:
        openvino.save_model(network, path, compress_to_fp16=False)
    except RuntimeError as error:  # what OpenVINO raises when the disk is full
        raise OSError(str(error)) from error


class OpenVinoEngine:
    """A compiled model that computes several batches at once, each on one thread."""

    def __init__(self, model: openvino.Model | Path, threads: int) -> None:
        """Compile a converted model, or the `.xml` file of one, to use `threads` cores."""
        settings = {**_SETTINGS, "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
        compiled = openvino.Core().compile_model(model, "CPU", settings)
        # One more than can run, so that a batch is waiting when a thread falls idle.
        self._requests = [compiled.create_infer_request() for _ in range(threads + 1)]
        self.name = f"openvino {version('openvino')}"

    def run(self, batches: Iterable[Arrays]) -> Iterator[NDArray[np.float32]]:
        """As `Engine.run`.

        Raises:
            MemoryError: the machine has no memory left.
        """
        idle, running = deque(self._requests), deque[openvino.InferRequest]()
        try:
            for batch in batches:
                if not idle:
                    yield _finish(running, idle)
                request = idle.popleft()
                with translated_memory_errors():
                    request.start_async(list(batch))
                running.append(request)
            while running:
                yield _finish(running, idle)
        finally:
            for request in running:
                with suppress(RuntimeError):  # the first one has been raised already
                    request.wait()


def _finish(
    running: deque[openvino.InferRequest], idle: deque[openvino.InferRequest]
) -> NDArray[np.float32]:
    request = running.popleft()
    with translated_memory_errors():
        request.wait()
    idle.append(request)
    output: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
    return output
