"""What computes: torch itself, the device, the threads."""

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

Engine = Literal["openvino", "torch"]

_log = logging.getLogger(__name__)
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def require_torch() -> None:
    """Import torch, and torchvision where it is installed.

    Raises:
        EncoderError: torch is missing, or the two are not builds of one pair.
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
            "torch and torchvision are not builds of one pair",
            do="Install both from the same index, in one command: a CPU build of one does not "
            "load beside a CUDA build of the other.",
        ) from error


def choose_device() -> str:
    """`cuda` where there is one, else `cpu`; `COMMONSPACE_DEVICE` decides where it is set.

    Also limits torch's threads to `COMMONSPACE_THREADS` where that is set, and switches
    TensorFloat-32 off.

    Raises:
        EncoderError: a setting that is not valid, or a device that is not there.
    """
    require_torch()
    import torch

    _limit_threads()
    # TensorFloat-32 keeps 10 bits of the mantissa: beyond every spec's tolerance.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    wanted = os.environ.get("COMMONSPACE_DEVICE", "")
    if not wanted:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not _DEVICE.fullmatch(wanted):
        raise EncoderError(
            f"COMMONSPACE_DEVICE is {wanted!r}", do="Set it to cpu, cuda or cuda:<number>."
        )
    number = int(wanted.partition(":")[2] or 0)
    if wanted != "cpu" and number >= torch.cuda.device_count():
        raise EncoderError(
            f"COMMONSPACE_DEVICE is {wanted!r}, but {torch.cuda.device_count()} CUDA devices "
            "can be seen",
            do="Unset it, or set it to cpu.",
        )
    return wanted


def choose_engine(device: str) -> Engine:
    """What computes on `device`: OpenVINO on a CPU where it is installed, else torch.

    `COMMONSPACE_ENGINE` decides where it is set. The choice changes speed and no meaning.

    Raises:
        EncoderError: a setting that is not valid, or OpenVINO where it cannot run.
    """
    wanted = os.environ.get("COMMONSPACE_ENGINE", "")
    if wanted not in ("", "openvino", "torch"):
        raise EncoderError(
            f"COMMONSPACE_ENGINE is {wanted!r}", do="Set it to openvino or torch, or unset it."
        )
    if wanted == "openvino" and device != "cpu":
        raise EncoderError(
            f"COMMONSPACE_ENGINE is 'openvino', which computes on a CPU, not on {device}",
            do="Unset it, or set COMMONSPACE_DEVICE to cpu.",
        )
    if wanted == "torch" or device != "cpu":
        return "torch"
    if importlib.util.find_spec("openvino") is not None:
        return "openvino"
    if wanted:
        raise EncoderError(
            "COMMONSPACE_ENGINE is 'openvino', which is not installed", do=INSTALL_HINT
        )
    _warn_of_missing_openvino()
    return "torch"


def uses_openvino() -> bool:
    """Whether OpenVINO on the CPU will compute; torch is asked only where it may see a GPU.

    Raises as `choose_device` and `choose_engine`.
    """
    wanted = os.environ.get("COMMONSPACE_DEVICE", "")
    cpu = wanted == "cpu" or (not wanted and _cuda_is_unavailable()) or choose_device() == "cpu"
    return cpu and choose_engine("cpu") == "openvino"


def _cuda_is_unavailable() -> bool:
    """True where torch cannot see a GPU: it is a CPU build, or there is no driver."""
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
        "openvino is not installed: torch computes on the CPU, and takes about half as long again. "
        "Install it, or set COMMONSPACE_ENGINE=torch to say that this is meant."
    )


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads() -> int:
    """How many threads compute: `COMMONSPACE_THREADS` where it is set, else one a core.

    Raises:
        EncoderError: the setting is not a number above 0.
    """
    wanted = os.environ.get("COMMONSPACE_THREADS", "")
    if not wanted:
        return cores()
    if not wanted.isdecimal() or int(wanted) == 0:
        raise EncoderError(f"COMMONSPACE_THREADS is {wanted!r}", do="Set it to a number above 0.")
    return int(wanted)


def _limit_threads() -> None:
    import torch

    threads = choose_threads()
    if os.environ.get("COMMONSPACE_THREADS"):
        torch.set_num_threads(threads)
