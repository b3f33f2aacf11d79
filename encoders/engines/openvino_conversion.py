"""From a PyTorch module to an OpenVINO engine that computes the same vectors."""

from __future__ import annotations

import warnings

import torch

from commonspace.encoders.engines.agreement import require_agreement, switch_off_advice
from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.engines.openvino_engine import OpenVinoEngine
from commonspace.encoders.engines.openvino_import import openvino
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.errors import EncoderError

_WITHOUT = switch_off_advice(
    "Set COMMONSPACE_ENGINE=torch", speed="but a CPU computes them more slowly"
)


def convert_to_engine(module: torch.nn.Module, example: Arrays, exact: Engine, item: str) -> Engine:
    """The engine by which OpenVINO runs `module`, compared with PyTorch on one batch.

    Args:
        module: the network.
        example: the batch that it is traced and compared on.
        exact: the engine by which PyTorch runs `module`.
        item: the encoder, for errors.

    Raises:
        EncoderError: OpenVINO cannot convert the module, or computes other vectors.
    """
    engine = OpenVinoEngine(convert_to_openvino(module, example, item), choose_threads())
    require_openvino_agrees(engine, exact, example, item)
    return engine


def require_openvino_agrees(engine: Engine, exact: Engine, example: Arrays, item: str) -> None:
    """Check OpenVINO's `engine` against PyTorch's, `exact`, on one batch.

    Raises:
        EncoderError: its vectors differ.
    """
    (vectors,), (expected,) = engine.run([example]), exact.run([example])
    require_agreement(vectors, expected, engine="OpenVINO", item=item, do=_WITHOUT)


def convert_to_openvino(module: torch.nn.Module, example: Arrays, item: str) -> openvino.Model:
    """The OpenVINO model of `module`, traced on `example`; every dimension may vary afterwards.

    Raises:
        EncoderError: OpenVINO cannot convert the module.
    """
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    inputs = tuple(torch.from_numpy(array) for array in example)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # The tracer warns of branches, here on what is the same for every input.
            warnings.simplefilter("ignore")
            # The tracer's own check runs the module twice more; the vectors are compared anyway.
            decoder = TorchScriptPythonDecoder(
                module, example_input=inputs, trace_kwargs={"check_trace": False}
            )
            return openvino.convert_model(decoder, example_input=inputs)
    # Tracing runs the model's own code, and OpenVINO's front end adds errors of its own.
    except Exception as error:
        raise EncoderError(
            f"OpenVINO cannot convert the model: {str(error).splitlines()[0]}",
            item=item,
            do=_WITHOUT,
        ) from error
