"""What becomes of CUDA's errors, as CUDA words them."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from commonspace.encoders.errors import DeviceOutOfMemory, EncoderError

torch = pytest.importorskip("torch")

from commonspace.encoders.engines.device_errors import run_on_device
from commonspace.encoders.engines.torch_engine import TorchEngine


def raising(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_full_device_is_a_smaller_batch(error: RuntimeError) -> None:
    with pytest.raises(DeviceOutOfMemory):
        run_on_device(raising, error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore"),
        torch.AcceleratorError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    ],
)
def test_a_failed_device_ends_the_process(error: RuntimeError) -> None:
    with pytest.raises(EncoderError, match="the device has failed") as caught:
        run_on_device(raising, error)
    assert caught.value.retry
    assert "\n" not in caught.value.what


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")]
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        run_on_device(raising, error)
    assert caught.value is error


class Activations(torch.nn.Module):
    """Runs out of memory while it holds something."""

    held: weakref.ref[torch.Tensor] | None = None

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        activations = batch * 2
        self.held = weakref.ref(activations)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


class Heavy(torch.nn.Module):
    """Has no room on the device."""

    def to(self, *_: object, **__: object) -> torch.nn.Module:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


def test_no_memory_for_the_weights_is_said_in_words() -> None:
    with pytest.raises(EncoderError, match="no device memory for the weights") as caught:
        TorchEngine(Heavy(), "cpu")
    assert caught.value.retry


def test_what_a_full_batch_held_is_free_before_the_next() -> None:
    module = Activations()
    with pytest.raises(DeviceOutOfMemory) as caught:
        list(TorchEngine(module, "cpu").run([(np.ones((2, 3), dtype=np.float32),)]))
    assert module.held is not None
    assert module.held() is None
    assert caught.value.__context__ is None
