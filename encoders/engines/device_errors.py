"""Which errors of PyTorch mean that a device is out of memory, and which that it has failed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_FULL = re.compile(r"CUDA.*out of memory|_STATUS_ALLOC_FAILED|Failed to [a-z ]+: 5\b")
"""PyTorch's words and those of cuBLAS and cuDNN; nvJPEG's status 5 is ALLOCATOR_FAILURE."""
_FAILED = re.compile(r"CUDA error|cuDNN error|CUBLAS_STATUS_|Failed to synchronize CUDA stream")


def run_on_device(
    function: Callable[_Parameters, _Result],
    *args: _Parameters.args,
    **kwargs: _Parameters.kwargs,
) -> _Result:
    """The result of `function`, with errors of the device as errors of this package.

    An error may stem from an earlier call: CUDA computes later than it is called.

    Raises:
        DeviceOutOfMemory: there was no memory; what `function` held has been freed.
        EncoderError: CUDA has failed, and nothing in this process can compute on it again.
    """
    try:
        return function(*args, **kwargs)
    except RuntimeError as error:
        failure = classify_device_error(error)
        if failure is None:
            raise
    # Outside the `except`: until it ends, the error's frames keep the batch's tensors alive.
    if isinstance(failure, DeviceOutOfMemory):
        torch.cuda.empty_cache()
    raise failure


def classify_device_error(error: RuntimeError) -> DeviceOutOfMemory | EncoderError | None:
    """The error to raise in its place; None where it is not about the device."""
    message = str(error)
    if isinstance(error, torch.cuda.OutOfMemoryError) or _FULL.search(message):
        return DeviceOutOfMemory()
    if isinstance(error, torch.AcceleratorError) or _FAILED.search(message):
        return EncoderError(
            f"the device has failed: {message.splitlines()[0] if message else 'no message'}",
            retry=True,
            do="This process cannot use the device any more. Run again; if it fails again, set "
            "CUDA_LAUNCH_BLOCKING=1 to see where, or COMMONSPACE_DEVICE=cpu to compute on the CPU.",
        )
    return None
