"""From a PyTorch module to an OpenVINO model, in memory and without a report to anyone."""

from __future__ import annotations

import warnings
from typing import Any

import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

from encoders.errors import EncoderError


def convert(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> openvino.Model:
    """Trace `module` on `example`, its inputs; every dimension of them may then vary.

    The front end is called by itself: `openvino.convert_model` reports each use to a server.

    Raises:
        EncoderError: OpenVINO cannot express what the module does.
    """
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of the tracer: branches on what never changes
            decoder = TorchScriptPythonDecoder(module, example_input=example)
            front_end: Any = FrontEndManager().load_by_framework("pytorch")
            return front_end.convert(front_end.load(decoder))
    # Tracing runs the model's own code, and the front end adds errors of its own.
    except Exception as error:
        raise EncoderError(
            f"OpenVINO cannot convert the model: {str(error).splitlines()[0]}",
            do="Set COMMONSPACE_ENGINE=torch: slower on a CPU, the same vectors.",
        ) from error
