"""The rows of the served release, out of its version of the LanceDB table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commonspace.pipeline.contract.contract import Contract
from commonspace.pipeline.errors import ContractBroken, UserMistake
from commonspace.pipeline.index import text_index, vector_index
from commonspace.pipeline.index.connection import (
    check_table,
    connect,
    equality_filter,
    fetch_rows,
    open_table,
    translating_store_errors,
    translating_table_errors,
)
from commonspace.pipeline.release.pointer import Current


class LanceRows:
    """One version of the table, opened when it is first asked."""

    def __init__(self, address: str, contract: Contract, pointer: Current) -> None:
        self._address, self._contract, self._pointer = address, contract, pointer
        self._space = contract.space

    @cached_property
    def table(self) -> Any:
        """The LanceDB table at the release's version. Raises ContractBroken."""
        with translating_table_errors(self._space):
            table = open_table(connect(self._address), self._pointer.table)
        advice = f"Run `commonspace verify {self._space} --repair` to rebuild it."
        if table is None:
            raise ContractBroken("the LanceDB table is gone", item=self._space, do=advice)
        check_table(table, self._contract)
        version = self._pointer.table_version
        try:
            with translating_store_errors(self._space):
                table.checkout(version)
        except (ValueError, RuntimeError) as error:
            raise ContractBroken(
                f"version {version} of the LanceDB table is gone", item=self._space, do=advice
            ) from error
        return table

    def of(self, ids: Sequence[str]) -> pa.Table:
        """The rows of some ids, in no order."""
        with translating_table_errors(self._space):
            return fetch_rows(self.table, ids)

    def nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        where: str | Mapping[str, Any] | None,
        columns: Sequence[str],
        *,
        exact: bool = False,
    ) -> pa.Table:
        """The k rows of the highest cosine, highest first, with `similarity`.

        By the vector index, where the release has one that finds enough and `exact` does not
        forbid it.
        """
        indices = self._pointer.indices if not exact else None
        index, kept = indices.searched if indices else None, condition(where)
        columns = [*columns, "_distance"]
        found = self._asked(
            vector_index.nearest_query(self.table, vector, k, index, kept), columns, where
        )
        if index and kept is None and found.num_rows < k:  # those that were probed hold fewer
            found = self._asked(
                vector_index.nearest_query(self.table, vector, k, None, kept), columns, where
            )
        similarity = pc.subtract(pa.scalar(1.0, pa.float32()), found["_distance"])
        return found.drop(["_distance"]).append_column("similarity", similarity)

    def matching(
        self,
        words: str,
        k: int,
        where: str | Mapping[str, Any] | None,
        columns: Sequence[str],
        among: Sequence[str],
    ) -> pa.Table:
        """The k rows that best match some of the words, best first, with `bm25`."""
        with translating_table_errors(self._space):
            missing = sorted(set(among) - text_index.indexes_by_column(self.table.list_indices()).keys())
        if missing:
            raise ContractBroken(
                f"the full-text index of {missing[0]!r} is gone",
                item=self._space,
                do=f"Run `commonspace verify {self._space} --repair` to rebuild it.",
            )
        query = text_index.match_query(self.table, words, among, k, condition(where))
        found = self._asked(query, [*columns, "_score"], where)
        return found.rename_columns([*columns, "bm25"])

    def _asked(
        self, query: Any, columns: Sequence[str], where: str | Mapping[str, Any] | None
    ) -> pa.Table:
        sql = isinstance(where, str) and bool(where)
        try:
            with translating_store_errors(self._space) if sql else translating_table_errors(self._space):
                return query.select(list(columns)).to_arrow().select(list(columns))
        except (ValueError, RuntimeError) as error:
            raise UserMistake(f"the condition {where!r} was refused: {error}") from error


def condition(where: str | Mapping[str, Any] | None) -> Any:
    """A filter as LanceDB takes it; None for none."""
    if not where:
        return None
    return where if isinstance(where, str) else equality_filter(dict(where))
