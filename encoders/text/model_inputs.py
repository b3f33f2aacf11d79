"""Windows of tokens as the padded arrays that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commonspace.encoders.engines.engine import Arrays
from commonspace.encoders.text.batches import Batch

if TYPE_CHECKING:  # what describes an encoder needs this module, but no tokenizer library
    from commonspace.encoders.text.tokenizer import Window


@dataclass(frozen=True)
class TextInputs:
    """How a model's tokens are padded, and whether it takes their types.

    The fields are part of an int8 model's record and fingerprint.

    Attributes:
        pad: the id of the padding token.
        pad_left: whether padding stands before the tokens.
        types: whether the model takes token types.
    """

    pad: int
    pad_left: bool
    types: bool

    def arrays(self, batch: Batch, windows: Sequence[Window]) -> Arrays:
        """`ids`, `mask` and, where taken, `types`: each (batch.rows, batch.width) int64."""
        shape = (batch.rows, batch.width)
        ids = np.full(shape, self.pad, dtype=np.int64)
        mask, types = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        mask[len(windows) :] = 1  # a filler row with nothing to attend to would be NaN
        for row, window in enumerate(windows):
            length = len(window.ids)
            columns = slice(batch.width - length, None) if self.pad_left else slice(length)
            ids[row, columns], types[row, columns] = window.ids, window.types
            mask[row, columns] = 1
        return (ids, mask, types) if self.types else (ids, mask)
