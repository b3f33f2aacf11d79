"""The folder of a text model that was converted to OpenVINO; loading it needs no torch.

record.json            how texts are padded and cut, the network of each purpose, digests
network-<n>.xml, .bin  the network that leaves the first n tokens, a prompt, out of pooling
tokenizer.json
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer

from commonspace.encoders.converted.cache import load_cached
from commonspace.encoders.converted.record import read_record, write_record
from commonspace.encoders.engines.engine import Engine
from commonspace.encoders.engines.openvino_engine import OpenVinoEngine, save_network
from commonspace.encoders.engines.openvino_import import openvino
from commonspace.encoders.engines.selection import choose_threads
from commonspace.encoders.protocol import Purpose
from commonspace.encoders.spec import EncoderSpec
from commonspace.encoders.text.encoder import Computation, TextEncoder
from commonspace.encoders.text.model_inputs import TextInputs
from commonspace.encoders.text.tokenizer import TextTokenizer

TOKENIZER = "tokenizer.json"
BUDGET = 512
"""Padded tokens in a batch. Measured on 2 cores: 512 and 1,024 alike, 2,048 a tenth slower."""


@dataclass(frozen=True)
class ConvertedModel:
    """What the record says; the fields are its keys.

    Attributes:
        pooled_out: by purpose, how many prompt tokens pooling leaves out, which names the network.
        inputs: how tokens are padded.
        side: at which end long texts are cut.
    """

    pooled_out: Mapping[Purpose, int]
    inputs: TextInputs
    side: str

    def write(self, folder: Path, networks: Mapping[int, openvino.Model], tokenizer: str) -> None:
        """Fill the folder, which exists and is empty.

        Raises:
            OSError: a file cannot be written.
        """
        for length, network in networks.items():
            save_network(network, _network_path(folder, length))
        (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        write_record(folder, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> ConvertedModel:
        """The model in a folder, whose files are checked by their digests.

        Raises:
            ValueError: the folder does not hold what was written.
            OSError: a file cannot be read.
        """
        stored = read_record(folder)
        try:
            return cls(stored["pooled_out"], TextInputs(**stored["inputs"]), stored["side"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its record has missing or further keys: {error}") from error

    def engines(self, folder: Path) -> dict[Purpose, Engine]:
        """The engines that run the networks in `folder` on the CPU, by purpose."""
        by_length = {
            length: OpenVinoEngine(_network_path(folder, length), choose_threads())
            for length in set(self.pooled_out.values())
        }
        return {purpose: by_length[length] for purpose, length in self.pooled_out.items()}

    def encoder(
        self, folder: Path, spec: EncoderSpec, engines: Mapping[Purpose, Engine]
    ) -> TextEncoder:
        """The encoder that computes with `engines`, with the tokenizer in `folder`."""
        # The tokenizer's threads hang in a forked child; on a CPU they gain only 1 %.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        assert spec.max_tokens is not None  # noqa: S101 - every text spec has one
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        tokens = TextTokenizer(tokenizer, spec.max_tokens, self.side, spec.overflow)
        return TextEncoder(
            spec, tokens, self.inputs, Computation(engines, BUDGET, fill=False), "cpu"
        )


def cached_encoder(spec: EncoderSpec) -> TextEncoder | None:
    """The encoder of `spec` from this machine's cache; None where it must be converted first."""

    def load(folder: Path) -> TextEncoder:
        model = ConvertedModel.read(folder)
        return model.encoder(folder, spec, model.engines(folder))

    return load_cached(spec, load)


def _network_path(folder: Path, length: int) -> Path:
    return folder / f"network-{length}.xml"
