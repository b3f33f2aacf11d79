"""What an encoder is: contents in; vectors, facts and failures out, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from commonspace.encoders.spec import EncoderSpec, Modality

Content = str | bytes
"""Text (str, NFC) or the bytes of an image file; never a path or an address."""

Purpose = Literal["document", "query"]
Fact = int | bool | str
"""One value of a row's provenance columns."""

FACTS: Mapping[Modality, Mapping[str, type]] = {
    "text": {
        "tokens_used": int,
        "tokens_total": int,
        "tokens_unknown": int,
        "truncated": bool,
        "text_rules": str,
    },
    "image": {
        "image_format": str,
        "image_mode": str,
        "image_width": int,
        "image_height": int,
        "image_orientation": int,
        "image_frames": int,
        "image_rules": str,
    },
}
"""The provenance columns that each row of a modality carries beside its vector: what of the content
was encoded, and how it was prepared."""


class Reason(StrEnum):
    """Why an item became a reject: a closed list; consumers may rely on the codes."""

    EMPTY_TEXT = "empty_text"
    INVALID_UNICODE = "invalid_unicode"
    TEXT_TOO_LONG = "text_too_long"
    UNKNOWN_TEXT = "unknown_text"
    EMPTY_IMAGE = "empty_image"
    UNREADABLE_IMAGE = "unreadable_image"
    TRUNCATED_IMAGE = "truncated_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNSUPPORTED_MODE = "unsupported_mode"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_COSTLY = "image_too_costly"
    IMAGE_TOO_SMALL = "image_too_small"
    BAD_VECTOR = "bad_vector"
    ENCODER_FAILED = "encoder_failed"
    KILLED_ENCODER = "killed_encoder"
    BAD_RECORD = "bad_record"
    CUT_RECORD = "cut_record"
    BAD_ID = "bad_id"
    BAD_METADATA = "bad_metadata"  # of releases of earlier commits alone
    DUPLICATE_ID = "duplicate_id"
    TOO_LARGE = "too_large"
    MISSING_CONTENT = "missing_content"
    WRONG_TYPE = "wrong_type"
    UNSUPPORTED_ADDRESS = "unsupported_address"
    SOURCE_UNREADABLE = "source_unreadable"
    CHANGED_DURING_RUN = "changed_during_run"


@dataclass(frozen=True)
class Failure:
    """Why one content got no vector, and whether trying again can help.

    A release stores the message, and rejects are compared by it: another wording makes a new
    release of an unchanged source.
    """

    reason: Reason
    message: str
    retryable: bool = False


@dataclass(frozen=True)
class ImageLimits:
    """What the decoding of an image may cost.

    Attributes:
        pixels: of an image, told by its file before it is decoded.
        seconds: how long a CPU may decode it.
    """

    pixels: int = 50_000_000
    seconds: float = 30.0


IMAGE_LIMITS = ImageLimits()
"""Those that hold where nobody says otherwise."""


def beyond_limit(reason: Reason, what: str, key: str, limit: float) -> Failure:
    """The failure of a content beyond one of a collection's limits, which its key names."""
    shown = f"{limit:g}" if isinstance(limit, float) else f"{limit:,}"
    return Failure(reason, f"{what}; `{key}` in [limits] is {shown}")


def too_slow(seconds: float) -> Failure:
    """The failure of an image whose decoding takes longer; the message names the limit."""
    what = "decoding takes too long"
    return beyond_limit(Reason.IMAGE_TOO_COSTLY, what, "max_image_seconds", seconds)


@dataclass(frozen=True)
class Encoded:
    """The outcome for n contents: m vectors and n - m failures, each content in exactly one.

    Attributes:
        vectors: (m, dim) float32, unit norm where the spec says so.
        positions: (m,) intp, ascending; `vectors[j]` belongs to `contents[positions[j]]`.
        facts: m mappings with the keys of `FACTS[modality]`, in the same order.
        failures: by position in the contents.
        unreadable: by position of a content that has a vector, why this says nothing of it: not
            to be published or searched with. A canary compares such vectors, too.
    """

    vectors: NDArray[np.float32]
    positions: NDArray[np.intp]
    facts: Sequence[Mapping[str, Fact]]
    failures: Mapping[int, Failure]
    unreadable: Mapping[int, Failure] = field(default_factory=dict)

    @classmethod
    def of_rows(
        cls,
        vectors: NDArray[np.float32],
        positions: Sequence[int],
        facts: Sequence[Mapping[str, Fact]],
        failed_rows: Mapping[int, Failure],
        failures: Mapping[int, Failure],
        unreadable_rows: Mapping[int, Failure] = MappingProxyType({}),
    ) -> Encoded:
        """The outcome where some contents were encoded and some of their vectors cannot be used.

        Args:
            vectors: (r, dim) float32, a row for each content that was encoded.
            positions: of those r contents, ascending.
            facts: of those r contents.
            failed_rows: by row of `vectors`, why its vector cannot be used.
            failures: of the contents that were not encoded, by position.
            unreadable_rows: by row of `vectors`, why it says nothing of its content.
        """
        kept_rows = [row for row in range(len(positions)) if row not in failed_rows]
        failed = {positions[row]: failure for row, failure in failed_rows.items()}
        unreadable = {positions[row]: why for row, why in unreadable_rows.items()}
        return cls(
            vectors if not failed_rows else vectors[kept_rows],
            np.array([positions[row] for row in kept_rows], dtype=np.intp),
            [facts[row] for row in kept_rows],
            {**failures, **failed},
            {position: why for position, why in unreadable.items() if position not in failed},
        )


class Encoder(Protocol):
    """A loaded model. `vectors[j]` depends on its own content alone, never on its neighbours."""

    @property
    def spec(self) -> EncoderSpec:
        """What decides the meaning of its vectors."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda` or `cuda:<number>`; not part of the spec."""
        ...

    @property
    def engine(self) -> str:
        """The library that computes, with its version: `openvino 2026.4.1`; not part of the spec.

        Two engines agree within `spec.tolerance`, not bit for bit.
        """
        ...

    def encode(self, contents: Sequence[Content], *, purpose: Purpose = "document") -> Encoded:
        """Encode `contents`; a bad content becomes a failure and never an exception.

        Args:
            contents: texts, or bytes of image files.
            purpose: whether they are documents or queries, where the model treats them differently.

        Raises:
            EncoderError: the device has failed, or has no memory for a single content.
        """
        ...
