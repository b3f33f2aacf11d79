"""What the rows of a release can be asked, whether LanceDB or Parquet holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commonspace.pipeline.read.filters import Filter


@dataclass(frozen=True, kw_only=True)
class VectorQuery:
    """Which rows are searched for.

    vector: (dim,) float32, of norm 1.
    k: how many rows.
    where: which rows are looked at.
    columns: which columns are returned.
    exact: whether every row is compared, and no vector index used.
    """

    vector: NDArray[np.float32]
    k: int
    where: Filter
    columns: Sequence[str]
    exact: bool = False


class Rows(Protocol):
    """The rows of one release."""

    def by_ids(self, ids: Sequence[str]) -> pa.Table:
        """The rows of these ids, in no particular order; ids that are missing are left out."""
        ...

    def nearest(self, query: VectorQuery) -> pa.Table:
        """The k rows of the highest cosine, highest first, with the column `similarity`."""
        ...
