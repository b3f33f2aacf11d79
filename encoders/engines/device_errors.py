"""What an error of PyTorch says of the device: full, failed, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_FULL = re.compile(r"CUDA.*out of memory|_STATUS_ALLOC_FAILED|Failed to [a-z ]+: 5\b")
"""cuBLAS and cuDNN say so in words of their own; nvJPEG's status 5 is ALLOCATOR_FAILURE."""
_FAILED = re.compile(r"CUDA error|cuDNN error|CUBLAS_STATUS_|Failed to synchronize CUDA stream")


def run_on_device(
    work: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
) -> _Result:
    """The result of `work`, whose errors may be older: CUDA reports them at a later call.

    Raises:
        DeviceFull: there was no memory; what `work` held has been freed.
        EncoderError: CUDA has failed, and nothing in this process will compute on it again.
    """
    try:
        return work(*args, **kwargs)
    except RuntimeError as error:
        failure = classify_device_error(error)
        if failure is None:
            raise
    # Only out here: the error holds its frames, and they hold the batch's tensors.
    if isinstance(failure, DeviceOutOfMemory):
        torch.cuda.empty_cache()
    raise failure


def classify_device_error(error: RuntimeError) -> DeviceOutOfMemory | EncoderError | None:
    """What the error says of the device; None where it is about something else."""
    words = str(error)
    if isinstance(error, torch.cuda.OutOfMemoryError) or _FULL.search(words):
        return DeviceOutOfMemory()
    if isinstance(error, torch.AcceleratorError) or _FAILED.search(words):
        return EncoderError(
            f"the device has failed: {words.splitlines()[0] if words else 'without a word'}",
            retry=True,
            do="Nothing more can be computed on it by this process. Run again; if it fails again, "
            "set CUDA_LAUNCH_BLOCKING=1 to see where, or COMMONSPACE_DEVICE=cpu to do without.",
        )
    return None
