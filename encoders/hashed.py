"""Feature hashing: vectors without weights, for tests and as a floor to compare with.

Texts that share character 3-grams, and files that share byte 4-grams, lie close; the vectors carry
no other meaning. Sums of +1 and -1 are exact in float64, so every vector is the same bit for bit in
every batch, process and machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.protocol import Content, Encoded, Fact, Failure, Purpose, Reason
from commonspace.encoders.spec import EncoderSpec, Modality
from commonspace.encoders.text.validity import text_failure

DEFAULT_DIM = 256
LARGEST_DIM = 65_536
PASSAGE_GRAMS = 256
"""The longest passage where a text has a row for each; a paragraph or a few sentences."""

_GRAM: Mapping[Modality, int] = {"text": 3, "image": 4}
_TEXT_EDGES = ("\x02", "\x03")
_FILE_END = 256
"""One more than any byte, so that the end of a file is no byte of it."""
_BLOCK_SYMBOLS = 1 << 20
"""Symbols hashed at once; bounds the memory to some tens of MB beside the contents."""
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio: Fibonacci hashing, Knuth, The Art of Computer Programming 6.4."""

_Symbols = NDArray[np.uint64]


def hashed_spec(dim: int, modality: Modality, *, passages: bool = False) -> EncoderSpec:
    """The spec of a `HashedEncoder`.

    Args:
        dim: the width of its vectors.
        modality: what it encodes.
        passages: whether a text gets a row for each of its passages.
    """
    unit = {"text": "casefolded-characters", "image": "file-bytes"}[modality]
    return EncoderSpec(
        kind="hashed",
        modality=modality,
        architecture=f"{unit}-{_GRAM[modality]}-grams",
        weights="none",
        trained=False,
        preprocessing={"hash": "fibonacci-64", "signs": True, "version": 1},
        max_tokens=PASSAGE_GRAMS if passages else None,
        overflow="rows" if passages else "",
        dim=dim,
        tolerance=0.0,
    )


class HashedEncoder:
    """Hashes n-grams into `dim` signed buckets; (m, dim) float32 of unit norm.

    A blank text, an empty file and a content of another type are failures.
    """

    def __init__(self, dim: int, modality: Modality, *, passages: bool = False) -> None:
        self.spec = hashed_spec(dim, modality, passages=passages)
        self.device = "cpu"
        self.engine = f"numpy {np.__version__}"

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """Encode `contents`; `purpose` changes nothing, as there are no prompts."""
        del purpose
        refuse = text_failure if self.spec.modality == "text" else _refuse_file
        failures = {i: f for i, content in enumerate(contents) if (f := refuse(content))}
        positions = [i for i in range(len(contents)) if i not in failures]
        vectors = np.empty((len(positions), self.spec.dim), dtype=np.float32)
        facts: list[Mapping[str, Fact]] = []
        for block in self._blocks([contents[i] for i in positions]):
            rows, grams = _grams(block, _GRAM[self.spec.modality])
            start = len(facts)
            vectors[start : start + len(block)] = _bucket(rows, grams, len(block), self.spec.dim)
            facts += map(self._facts, np.bincount(rows, minlength=len(block)).tolist())
        return Encoded(vectors, np.array(positions, dtype=np.intp), facts, failures)

    def _blocks(self, contents: Sequence[Content]) -> Iterator[list[_Symbols]]:
        block: list[_Symbols] = []
        size = 0
        for content in contents:
            block.append(_symbols(content))
            size += len(block[-1])
            if size >= _BLOCK_SYMBOLS:
                yield block
                block, size = [], 0
        if block:
            yield block

    def _facts(self, grams: int) -> dict[str, Fact]:
        if self.spec.modality == "text":
            return {
                "tokens_used": grams,
                "tokens_total": grams,
                "tokens_unknown": 0,
                "truncated": False,
                "text_rules": "",
            }
        return {
            "image_format": "",
            "image_mode": "",
            "image_width": 0,
            "image_height": 0,
            "image_orientation": 1,
            "image_frames": 1,
            "image_rules": "",
        }


def _refuse_file(content: object) -> Failure | None:
    if not isinstance(content, bytes):
        return Failure(Reason.WRONG_TYPE, f"expected bytes, got {type(content).__name__}")
    return None if content else Failure(Reason.EMPTY_IMAGE, "no bytes")


def _symbols(content: Content) -> _Symbols:
    """Code points between two edges, or bytes with their end; long enough for one gram."""
    if isinstance(content, str):
        first, last = _TEXT_EDGES
        text = f"{first}{content.casefold()}{last}"
        return np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    end = np.full(_GRAM["image"] - 1, _FILE_END, dtype=np.uint64)
    return np.concatenate([np.frombuffer(content, dtype=np.uint8).astype(np.uint64), end])


def _grams(block: Sequence[_Symbols], width: int) -> tuple[NDArray[np.intp], _Symbols]:
    """Row and 64-bit hash of every gram that lies within one content."""
    lengths = np.array([len(symbols) for symbols in block], dtype=np.intp)
    rows = np.repeat(np.arange(len(block), dtype=np.intp), lengths)
    symbols = np.concatenate(block)
    count = len(symbols) - width + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(width):
        hashes = (hashes ^ symbols[offset : offset + count]) * MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    within = rows[:count] == rows[width - 1 :]
    return rows[:count][within], hashes[within]


def _bucket(rows: NDArray[np.intp], grams: _Symbols, count: int, dim: int) -> NDArray[np.float64]:
    """(count, dim) unit vectors of signed sums."""
    signs = np.where(grams >> np.uint64(63), 1.0, -1.0)
    buckets = ((grams & np.uint64(0x7FFFFFFFFFFFFFFF)) % np.uint64(dim)).astype(np.intp)
    sums = np.bincount(rows * dim + buckets, weights=signs, minlength=count * dim)
    sums = sums.reshape(count, dim)
    # All signs of a row may cancel, most likely in few dimensions: then only its first gram counts.
    cancelled = np.flatnonzero(~sums.any(axis=1))
    sums[cancelled, buckets[np.searchsorted(rows, cancelled)]] = 1.0
    unit: NDArray[np.float64] = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return unit
