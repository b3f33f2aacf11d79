"""The CLIP encoder: images and texts in one space, so that a text finds a photo.

Images are decoded and texts tokenised by this package: neither is ever handed to a processor of the
libraries, which would fetch a text that is an address and open one that is a path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from commonspace.encoders.clip.image_preprocessing import preprocess_image
from commonspace.encoders.clip.model import LoadedClip, load_clip
from commonspace.encoders.engines.engine import Arrays, Engine
from commonspace.encoders.engines.selection import choose_engine
from commonspace.encoders.engines.torch_engine import TorchEngine
from commonspace.encoders.image.encoder import ImageEncoder
from commonspace.encoders.protocol import (
    IMAGE_LIMITS,
    Content,
    Encoded,
    Fact,
    Failure,
    ImageLimits,
    Purpose,
)
from commonspace.encoders.sentence.encoder import TORCH_CPU_BUDGET
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.batches import Batch
from commonspace.encoders.text.encoder import Computation, TextEncoder
from commonspace.encoders.text.model_inputs import TextInputs
from commonspace.encoders.text.tokenizer import TextTokenizer

CPU_BUDGET, CUDA_BUDGET = 512, 65_536
"""Padded tokens in a batch of texts, as for sentence models."""


class ClipEncoder:
    """Unit vectors (m, dim) float32 of images or of texts, and queries of either.

    Documents are of `spec.modality`; anything else is a failure. A query is a text if it is a `str`
    and an image file if it is `bytes`; its facts are those of its own modality. The tower of the
    other modality is set up by the first query that needs it.
    """

    def __init__(
        self, folder: Path, spec: EncoderSpec, device: str, limits: ImageLimits = IMAGE_LIMITS
    ) -> None:
        """Load the model; decoding an image may cost `limits`.

        Raises:
            WeightsRefused: as `load_clip`.
            EncoderError: OpenVINO is to run the model and cannot.
        """
        # Threads of the tokenizer hang in a forked child; on a CPU they would gain 1 %.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device != "cpu" else "false")
        self.spec = spec
        self.device = device
        self._limits = limits
        self._model: LoadedClip = load_clip(folder, spec.preprocessing)
        self._kind = choose_engine(device)
        _ = self._texts if spec.modality == "text" else self._images  # set up now, not by a query

    @property
    def engine(self) -> str:
        """The library that computes, with its version."""
        return self._texts.engine if self.spec.modality == "text" else self._images.engine

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """As `Encoder.encode`; queries may be of either modality, and prompts precede texts."""
        if purpose == "document":
            as_texts = [self.spec.modality == "text"] * len(contents)
        else:
            as_texts = [isinstance(content, str) for content in contents]
        texts = [i for i, is_text in enumerate(as_texts) if is_text]
        images = [i for i, is_text in enumerate(as_texts) if not is_text]
        parts = []
        if texts:
            encoded = self._texts.encode([contents[i] for i in texts], purpose=purpose)
            parts.append(_at_positions(encoded, texts))
        if images:
            encoded = self._images.encode([contents[i] for i in images])
            parts.append(_at_positions(encoded, images))
        return _merged(parts, self.spec.dim)

    @cached_property
    def _texts(self) -> TextEncoder:
        tokenizer = self._model.tokenizer
        assert self.spec.max_tokens is not None  # noqa: S101 - every CLIP spec has one
        tokens = TextTokenizer(
            tokenizer.backend_tokenizer,
            self.spec.max_tokens,
            tokenizer.truncation_side,
            self.spec.overflow,
        )
        # Attention looks back only, and the vector is the first end token's: any padding does.
        inputs = TextInputs(pad=0, pad_left=False, types=False)
        windows = [text.windows[0] for text in tokens(["probe", "a second, longer probe"])]
        width = max(len(window.ids) for window in windows)
        engine = self._engine(self._model.text, inputs.arrays(Batch([0, 1], width, 2), windows))
        on_cpu = self.device == "cpu"
        fill = on_cpu and self._kind == "torch"
        computation = Computation(
            {"document": engine, "query": engine},
            (TORCH_CPU_BUDGET if fill else CPU_BUDGET) if on_cpu else CUDA_BUDGET,
            fill=fill,
        )
        return TextEncoder(self.spec, tokens, inputs, computation, self.device)

    @cached_property
    def _images(self) -> ImageEncoder:
        side = self.spec.preprocessing["crop"]
        noise = np.random.default_rng(0).integers(0, 256, (2, 3, side, side), dtype=np.uint8)
        engine = self._engine(self._model.image, (noise,))
        return ImageEncoder(
            self.spec,
            engine,
            self.device,
            prepare=preprocess_image,
            limits=self._limits,
        )

    def _engine(self, tower: torch.nn.Module, example: Arrays) -> Engine:
        exact = TorchEngine(tower, self.device)
        if self._kind != "openvino":
            return exact
        from commonspace.encoders.engines.openvino_conversion import convert_to_engine

        return convert_to_engine(tower, example, exact, self.spec.label)


def _at_positions(encoded: Encoded, positions: Sequence[int]) -> Encoded:
    """The outcome for some contents, with their positions among all contents."""
    failures = {positions[index]: failure for index, failure in encoded.failures.items()}
    unreadable = {positions[index]: why for index, why in encoded.unreadable.items()}
    all_positions = np.asarray(positions, dtype=np.intp)[encoded.positions]
    return Encoded(encoded.vectors, all_positions, encoded.facts, failures, unreadable)


def _merged(parts: Sequence[Encoded], dim: int) -> Encoded:
    vectors = np.concatenate([np.empty((0, dim), np.float32), *(part.vectors for part in parts)])
    positions = np.concatenate([np.empty(0, np.intp), *(part.positions for part in parts)])
    facts: list[Mapping[str, Fact]] = [fact for part in parts for fact in part.facts]
    failures: dict[int, Failure] = {}
    unreadable: dict[int, Failure] = {}
    for part in parts:
        failures |= part.failures
        unreadable |= part.unreadable
    order = np.argsort(positions)
    facts_in_order = [facts[row] for row in order]
    return Encoded(vectors[order], positions[order], facts_in_order, failures, unreadable)
