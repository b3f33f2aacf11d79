"""The rows of the served release, out of its version of the LanceDB table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.contract import Contract
from pipeline.errors import ContractBroken, UserMistake
from pipeline.lance import (
    check_table,
    connect,
    equals,
    open_table,
    reachable,
    readable,
    rows_of,
)
from pipeline.records import Current


class LanceRows:
    """One version of the table, opened when it is first asked."""

    def __init__(self, address: str, contract: Contract, pointer: Current) -> None:
        self._address, self._contract, self._pointer = address, contract, pointer
        self._space = contract.space

    @cached_property
    def table(self) -> Any:
        """The LanceDB table at the release's version. Raises ContractBroken."""
        with readable(self._space):
            table = open_table(connect(self._address), self._pointer.table)
        advice = f"Run `commonspace verify {self._space} --repair` to rebuild it."
        if table is None:
            raise ContractBroken("the LanceDB table is gone", item=self._space, do=advice)
        check_table(table, self._contract)
        version = self._pointer.table_version
        try:
            with reachable(self._space):
                table.checkout(version)
        except (ValueError, RuntimeError) as error:
            raise ContractBroken(
                f"version {version} of the LanceDB table is gone", item=self._space, do=advice
            ) from error
        return table

    def of(self, ids: Sequence[str]) -> pa.Table:
        """The rows of some ids, in no order."""
        with readable(self._space):
            return rows_of(self.table, ids)

    def nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        where: str | Mapping[str, Any] | None,
        columns: Sequence[str],
    ) -> pa.Table:
        """The k rows of the highest cosine, highest first, with `similarity`."""
        # Vectors are unit, so the inner product is the cosine, indexed or not.
        query = self.table.search(vector).distance_type("dot").limit(k)
        if where:
            condition = where if isinstance(where, str) else equals(dict(where))
            query = query.where(condition, prefilter=True)
        try:
            with readable(self._space) if not isinstance(where, str) else reachable(self._space):
                found = query.select([*columns, "_distance"]).to_arrow()
        except (ValueError, RuntimeError) as error:
            raise UserMistake(f"the condition {where!r} was refused: {error}") from error
        similarity = pc.subtract(pa.scalar(1.0, pa.float32()), found["_distance"])
        return found.drop(["_distance"]).append_column("similarity", similarity)
