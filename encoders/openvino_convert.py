"""From a PyTorch module to an OpenVINO model, in memory."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from encoders.errors import EncoderError
from encoders.openvino_import import openvino


def convert(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> Any:
    """Trace `module` on `example`, its inputs; every dimension of them may then vary.

    Raises:
        EncoderError: OpenVINO cannot express what the module does.
    """
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the tracer: branches on what never changes
            return openvino.convert_model(module, example_input=example)
    # Tracing runs the model's own code, and the front end adds errors of its own.
    except Exception as error:
        raise EncoderError(
            f"OpenVINO cannot convert the model: {str(error).splitlines()[0]}",
            do="Set COMMONSPACE_ENGINE=torch: slower on a CPU, the same vectors.",
        ) from error
