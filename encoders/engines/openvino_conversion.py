"""From a PyTorch module to an OpenVINO engine that gives the same vectors."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.engines.openvino_engine import OpenVinoEngine
from commonspace.encoders.engines.openvino_import import openvino
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.errors import EncoderError
from commonspace.encoders.vectors import largest_angle

_CLOSE = 1e-4
"""Radians between what PyTorch and a conversion of the same module may give; measured: 7e-6."""
_OTHERWISE = "Set COMMONSPACE_ENGINE=torch: slower on a CPU, the same vectors."


def convert_to_engine(module: torch.nn.Module, example: Arrays, exact: Engine, item: str) -> Engine:
    """`module` as OpenVINO runs it, tried on `example` against `exact`, PyTorch running it.

    Raises:
        EncoderError: OpenVINO cannot express what the module does, or gives other vectors.
    """
    engine = OpenVinoEngine(convert_to_openvino(module, example, item), choose_threads())
    require_close(engine, exact, example, item)
    return engine


def require_close(engine: Engine, exact: Engine, example: Arrays, item: str) -> None:
    """Raises EncoderError where `engine` gives other vectors than `exact`, PyTorch's, does."""
    (found,), (expected,) = engine.run([example]), exact.run([example])
    angle = largest_angle(found, expected)
    if not angle <= _CLOSE:
        raise EncoderError(
            f"OpenVINO's vectors lie {angle:.1e} rad from PyTorch's", item=item, do=_OTHERWISE
        )


def convert_to_openvino(module: torch.nn.Module, example: Arrays, item: str) -> Any:
    """The OpenVINO model of `module`, traced on `example`; every dimension may then vary.

    Raises:
        EncoderError: OpenVINO cannot express what the module does.
    """
    inputs = tuple(torch.from_numpy(array) for array in example)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the tracer: branches on what never changes
            return openvino.convert_model(module, example_input=inputs)
    # Tracing runs the model's own code, and the front end adds errors of its own.
    except Exception as error:
        raise EncoderError(
            f"OpenVINO cannot convert the model: {str(error).splitlines()[0]}",
            item=item,
            do=_OTHERWISE,
        ) from error
