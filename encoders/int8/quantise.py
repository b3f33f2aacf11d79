"""Quantises the weights and activations of a model to int8.

Post-training quantisation by NNCF, with smooth quantisation of transformers' activations (Xiao et
al., SmoothQuant, 2023). NNCF reports nothing to a server, as it is told that it runs in a CI.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from commonspace.encoders.engines.engine import Arrays
from commonspace.encoders.engines.openvino_import import openvino
from commonspace.encoders.errors import EncoderError, EncoderNotFound
from commonspace.encoders.int8.record import NETWORK, TOKENIZER, Int8Record
from commonspace.encoders.model_folder.location import find_model_folder
from commonspace.encoders.protocol import Content
from commonspace.encoders.reference import EncoderReference
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.batches import Batch
from commonspace.encoders.text.model_inputs import TextInputs
from commonspace.encoders.text.validity import text_failure

FP32_OUTPUTS = 1
"""Feed-forward outputs left in fp32, from the first block on, whose inputs have the widest range.
Measured on MiniLM, 2,000 texts: agreement on ten neighbours 0.956 with it and 0.950 without,
for 4 % of the time; that of the second block instead gives 0.953, of the others less."""

_KINDS = ("sentence-transformers", "torchvision", "timm")


@dataclass(frozen=True, kw_only=True)
class Quantisable:
    """A converted network, and what it is calibrated on.

    Attributes:
        network: in fp32.
        batches: one of each content.
        transformer: whether it is one, which NNCF treats differently.
        inputs: how texts are padded; None of images.
        side: at which end texts are cut.
        tokenizer: the text of `tokenizer.json`; None of images.
    """

    network: openvino.Model
    batches: Sequence[Arrays]
    transformer: bool
    inputs: TextInputs | None = None
    side: str = "right"
    tokenizer: str | None = None


def quantise(model: Quantisable, spec: EncoderSpec, folder: Path) -> None:
    """Write the int8 model into `folder`, which must not exist yet.

    Args:
        model: what is quantised.
        spec: of the original model.
        folder: of the int8 model.

    Raises:
        EncoderError: NNCF is not installed.
        EncoderNotFound: the folder exists already.
    """
    if folder.exists():
        raise EncoderNotFound(
            "the folder exists already", item=str(folder), do="Name a new folder."
        )
    nncf = _import_nncf()
    kept_in_fp32 = _operations_around_network(model.network)
    options: dict[str, Any] = {}
    if model.transformer:
        kept_in_fp32 += _feed_forward_outputs(model.network)[:FP32_OUTPUTS]
        options["preset"] = nncf.QuantizationPreset.MIXED
        options["model_type"] = nncf.ModelType.TRANSFORMER
    with contextlib.redirect_stdout(sys.stderr):  # NNCF draws progress bars
        quantised = nncf.quantize(
            model.network,
            nncf.Dataset([list(batch) for batch in model.batches]),
            subset_size=len(model.batches),
            ignored_scope=nncf.IgnoredScope(names=kept_in_fp32, validate=False),
            **options,
        )
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    openvino.save_model(quantised, part / NETWORK, compress_to_fp16=False)
    if model.tokenizer is not None:
        (part / TOKENIZER).write_text(model.tokenizer, encoding="utf-8")
    recipe = {
        "calibrated_on": len(model.batches),
        "kept_in_fp32": kept_in_fp32,
        "nncf": version("nncf"),
        "openvino": version("openvino"),
    }
    Int8Record(spec, {}, recipe, model.inputs, model.side).write(part)
    part.rename(folder)


def write_int8(
    reference: EncoderReference, spec: EncoderSpec, folder: Path, calibration: Sequence[Content]
) -> None:
    """Quantise the encoder that `spec` describes.

    Raises:
        EncoderError: encoders of this kind cannot be quantised, NNCF is not installed, or no
            content can be calibrated on.
        EncoderNotFound: the folder exists already.
        WeightsRefused: the weights cannot be loaded.
    """
    if spec.precision != "fp32" or spec.kind not in _KINDS:
        raise EncoderError(
            f"cannot be made int8: {spec.label}",
            item=reference.name,
            do="Name a sentence-transformers text model, or a network of torchvision or timm, in "
            "fp32.",
        )
    if spec.modality == "text":
        quantise(quantisable_text(find_model_folder(reference), spec, calibration), spec, folder)
    else:
        quantise(quantisable_images(reference, spec, calibration), spec, folder)


def quantisable_text(folder: Path, spec: EncoderSpec, contents: Iterable[Content]) -> Quantisable:
    """The model in a sentence-transformers folder, calibrated with its prompt of documents.

    Raises:
        WeightsRefused: as `load_sentence_model`.
        EncoderError: it pools documents and queries differently, or no content is a text.
    """
    from commonspace.encoders.engines.openvino_conversion import convert_to_openvino
    from commonspace.encoders.sentence.loaded_model import load_sentence_model

    model = load_sentence_model(folder, spec)
    if len(model.networks) > 1:
        raise EncoderError(
            "it pools documents and queries differently, and such models cannot be quantised",
            item=str(folder),
        )
    texts = [str(content) for content in contents if text_failure(content) is None]
    windows = [text.windows[0] for text in model.tokenizer(texts, spec.prompts["document"])]
    if not windows:
        raise EncoderError("there are no texts to calibrate on", item=str(folder))
    (network,) = model.networks.values()
    return Quantisable(
        network=convert_to_openvino(network, model.probe, str(folder)),
        batches=[model.inputs.arrays(Batch([0], len(w.ids), 1), [w]) for w in windows],
        transformer=True,
        inputs=model.inputs,
        side=model.side,
        tokenizer=model.rust_tokenizer.to_str(),
    )


def quantisable_images(
    reference: EncoderReference, spec: EncoderSpec, contents: Iterable[Content]
) -> Quantisable:
    """A network of torchvision or timm, from 8-bit crops to vectors.

    Raises:
        WeightsRefused, EncoderNotFound: as `load_embedding_network`.
        EncoderError: no content is an image that can be decoded.
    """
    from commonspace.encoders.engines.openvino_conversion import convert_to_openvino
    from commonspace.encoders.image.crops import crop_image
    from commonspace.encoders.image.image_file import UprightImage, read_image

    images = [image for c in contents if isinstance(image := read_image(c), UprightImage)]
    if not images:
        raise EncoderError("there are no images to calibrate on", item=reference.name)
    crops = [crop_image(image.pixels, spec.preprocessing)[None] for image in images]
    network = _embedding_network(spec, reference)
    example = np.concatenate([crops[0], crops[-1]])
    converted = convert_to_openvino(network, (example,), reference.name)
    return Quantisable(network=converted, batches=[(crop,) for crop in crops], transformer=False)


def _embedding_network(spec: EncoderSpec, reference: EncoderReference) -> Any:
    if spec.kind == "timm":
        from commonspace.encoders.timm.encoder import load_embedding_network as load_timm

        return load_timm(spec, reference)
    from commonspace.encoders.torchvision.encoder import load_embedding_network
    from commonspace.encoders.torchvision.weights import weights_file

    return load_embedding_network(spec, weights_file(reference))


def _operations_around_network(network: openvino.Model) -> list[str]:
    """Operations before and after the network itself: normalised in 8 bits, no norm would be 1.

    Products always belong to the network, also where one has lost its name to a folded norm.
    """
    others = ("Constant", "Parameter", "Result", "Convolution", "GroupConvolution", "MatMul")
    return [
        operation.get_friendly_name()
        for operation in network.get_ordered_ops()
        if not operation.get_friendly_name().startswith("__module.")
        and operation.get_type_name() not in others
    ]


def _feed_forward_outputs(network: openvino.Model) -> list[str]:
    """Matrix products with more inputs than outputs, first to last."""
    names = []
    for operation in network.get_ordered_ops():
        if operation.get_type_name() != "MatMul":
            continue
        shape = operation.input(1).get_partial_shape()
        if shape.is_dynamic or len(shape) != 2:
            continue
        rows, columns = shape.to_shape()
        outputs, inputs = (
            (rows, columns) if operation.get_attributes()["transpose_b"] else (columns, rows)
        )
        if inputs > outputs:
            names.append(operation.get_friendly_name())
    return names


def _import_nncf() -> Any:
    os.environ.setdefault("NNCF_CI", "1")  # read at import; without it, each use is reported
    try:
        import nncf
    except ModuleNotFoundError as error:
        raise EncoderError(
            f"{error.name} is not installed", do='Install "commonspace[quantise]".'
        ) from error
    nncf.set_log_level(logging.ERROR)
    return nncf
