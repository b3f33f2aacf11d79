"""Which device, engine and number of threads compute; environment variables may decide."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from commonspace.encoders.errors import INSTALL_HINT, EncoderError

EngineName = Literal["openvino", "torch"]

_log = logging.getLogger(__name__)
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def require_torch() -> None:
    """Check that torch can be imported, and torchvision where it is installed.

    Raises:
        EncoderError: torch is missing, or the two do not fit together.
    """
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise EncoderError(f"{error.name} is not installed", do=INSTALL_HINT) from error
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, ImportError, OSError) as error:
        # A CPU build of one beside a CUDA build of the other: `torchvision::nms does not exist`.
        raise EncoderError(
            "torch and torchvision are builds that do not fit together",
            do="Install both from the same index, in one command: a CPU build of one does not "
            "work with a CUDA build of the other.",
        ) from error


def choose_device() -> str:
    """`COMMONSPACE_DEVICE` where it is set, else `cuda` if there is such a device, else `cpu`.

    Also limits torch's threads to `COMMONSPACE_THREADS` where that is set, and switches
    TensorFloat-32 off.

    Raises:
        EncoderError: torch is missing, a setting is not valid, or there is no such device.
    """
    require_torch()
    import torch

    _limit_threads()
    # TensorFloat-32 keeps 10 bits of the mantissa: beyond every spec's tolerance.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    setting = os.environ.get("COMMONSPACE_DEVICE", "")
    if not setting:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _DEVICE.fullmatch(setting):
        raise EncoderError(
            f"COMMONSPACE_DEVICE is {setting!r}", do="Set it to cpu, cuda or cuda:<number>."
        )
    number = int(setting.partition(":")[2] or 0)
    if setting != "cpu" and number >= torch.cuda.device_count():
        raise EncoderError(
            f"COMMONSPACE_DEVICE is {setting!r}, but torch sees {torch.cuda.device_count()} CUDA "
            "devices",
            do="Unset it, or set it to cpu.",
        )
    return setting


def choose_engine(device: str) -> EngineName:
    """`COMMONSPACE_ENGINE` where it is set, else OpenVINO on a CPU if it is installed, else torch.

    The choice changes speed and never what a vector means.

    Raises:
        EncoderError: the setting is not valid, or names OpenVINO where it cannot run.
    """
    setting = os.environ.get("COMMONSPACE_ENGINE", "")
    if setting not in ("", "openvino", "torch"):
        raise EncoderError(
            f"COMMONSPACE_ENGINE is {setting!r}", do="Set it to openvino or torch, or unset it."
        )
    if setting == "openvino" and device != "cpu":
        raise EncoderError(
            f"COMMONSPACE_ENGINE is 'openvino', which computes on a CPU, not on {device}",
            do="Unset it, or set COMMONSPACE_DEVICE to cpu.",
        )
    if setting == "torch" or device != "cpu":
        return "torch"
    if importlib.util.find_spec("openvino") is not None:
        return "openvino"
    if setting:
        raise EncoderError(
            "COMMONSPACE_ENGINE is 'openvino', which is not installed", do=INSTALL_HINT
        )
    _warn_of_missing_openvino()
    return "torch"


def uses_openvino() -> bool:
    """Whether OpenVINO will compute on the CPU; imports torch only where it may see a GPU.

    Raises:
        EncoderError: as `choose_device` and `choose_engine`.
    """
    setting = os.environ.get("COMMONSPACE_DEVICE", "")
    on_cpu = setting == "cpu" or (not setting and cuda_is_unavailable())
    return (on_cpu or choose_device() == "cpu") and choose_engine("cpu") == "openvino"


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads() -> int:
    """How many threads compute: `COMMONSPACE_THREADS` where it is set, else one for each core.

    Raises:
        EncoderError: the setting is not a number above 0.
    """
    setting = os.environ.get("COMMONSPACE_THREADS", "")
    if not setting:
        return available_cores()
    if not setting.isdecimal() or int(setting) == 0:
        raise EncoderError(f"COMMONSPACE_THREADS is {setting!r}", do="Set it to a number above 0.")
    return int(setting)


def cuda_is_unavailable() -> bool:
    """Without importing torch: whether it is a CPU build, or the machine has no driver."""
    try:
        build = version("torch").partition("+")[2]
    except PackageNotFoundError:
        return False
    if build == "cpu":
        return True
    if sys.platform != "linux" or Path("/dev/kfd").exists():  # AMD's, which torch calls CUDA too
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


@functools.cache
def _warn_of_missing_openvino() -> None:
    _log.warning(
        "openvino is not installed, so torch computes on the CPU and takes about 1.5 times as "
        "long. Install it, or set COMMONSPACE_ENGINE=torch to silence this warning."
    )


def _limit_threads() -> None:
    import torch

    threads = choose_threads()
    if os.environ.get("COMMONSPACE_THREADS"):
        torch.set_num_threads(threads)
