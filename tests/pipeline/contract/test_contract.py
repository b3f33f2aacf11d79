"""A contract comes back as it was stored, and every difference from it is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commonspace.encoders.hashed import hashed_spec
from commonspace.encoders.vectors import NORM_TOLERANCE
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import (
    METADATA_KEY,
    Contract,
    bad_vectors,
    load_contract,
)
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.stored_columns import check_schema
from commonspace.pipeline.errors import ContractBroken
from commonspace.pipeline.storage.local import LocalStore

NAME = SpaceName("books", "text", 2)
SPEC = hashed_spec(4, "text")
CONTRACT = Contract.of(NAME, SPEC, {"year": "int64", "title": "string"})
PASSAGES = Contract.of(NAME, hashed_spec(4, "text", passages=True), {"title": "string"})


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_it_comes_back_as_it_was_stored(store: LocalStore) -> None:
    assert load_contract(store, NAME) is None
    store.put(spec_key(NAME), CONTRACT.to_bytes())
    loaded = load_contract(store, NAME)
    assert loaded == CONTRACT
    assert loaded is not None
    assert loaded.to_bytes() == CONTRACT.to_bytes()
    assert list(loaded.schema.names) == list(CONTRACT.schema.names)


def test_what_a_schema_carries_is_the_same_in_any_order() -> None:
    carried = CONTRACT.schema.metadata[METADATA_KEY]
    assert carried == json.dumps(json.loads(carried), sort_keys=True).encode()


def test_its_fingerprint_is_that_of_the_spec_in_any_script(store: LocalStore) -> None:
    spec = replace(SPEC, architecture="größe")
    contract = Contract.of(NAME, spec, {})
    store.put(spec_key(NAME), contract.to_bytes())
    assert load_contract(store, NAME) == contract


def damaged(**changes: Any) -> bytes:
    return json.dumps(json.loads(CONTRACT.to_bytes()) | changes).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (damaged(fingerprint="0" * 64), "its fingerprint is not that of its spec"),
        (damaged(metadata={"title": "text"}), "a metadata column has no known type"),
        (damaged(space="books/text/v1"), "it is the contract of books/text/v1"),
        (damaged(metadata=None), "damaged"),
        (b"[]", "damaged"),
        (b"{", "damaged"),
        (b"{}", "damaged"),
    ],
)
def test_a_damaged_one_is_refused(store: LocalStore, data: bytes, reason: str) -> None:
    store.put(spec_key(NAME), data)
    with pytest.raises(ContractBroken, match=reason) as raised:
        load_contract(store, NAME)
    assert raised.value.item == spec_key(NAME)


def test_the_columns_are_in_one_order_and_only_some_may_be_empty() -> None:
    fields = {field.name: field for field in CONTRACT.schema}
    assert [*fields][:4] == ["id", "vector", "title", "year"]
    nullable = {name for name, field in fields.items() if field.nullable}
    assert {"title", "year", "partition"} <= nullable
    required = {"id", "vector", "source_uri", "content_digest", "row_digest", "encoded_at", "run"}
    assert not nullable & required
    assert fields["vector"].type.list_size == 4
    stored = CONTRACT.schema.metadata[METADATA_KEY]
    assert Contract.from_json(json.loads(stored)) == CONTRACT
    # Files are named by their bytes: the same contract is the same text.
    assert stored.decode() == json.dumps(json.loads(stored), sort_keys=True)


def test_a_row_is_of_its_item_or_of_a_passage_of_it() -> None:
    assert CONTRACT.item_column == "id"
    assert PASSAGES.item_column == "item"
    assert CONTRACT.item_columns == [
        "id", "partition", "source_uri", "row_digest", "title", "year",
    ]  # fmt: skip
    assert PASSAGES.item_columns == [
        "id", "partition", "source_uri", "row_digest", "item", "passage", "passage_start",
        "passage_end", "title",
    ]  # fmt: skip
    passage = {"item", "passage", "passage_start", "passage_end"}
    assert passage <= set(PASSAGES.schema.names)
    assert not passage & set(CONTRACT.schema.names)
    assert not any(PASSAGES.schema.field(name).nullable for name in passage)


def schema_with(**fields: pa.DataType) -> pa.Schema:
    """The contract's schema with other types; a type of null leaves the column out."""
    kept = [field for field in CONTRACT.schema if field.name not in fields]
    added = [pa.field(name, kind) for name, kind in fields.items() if kind != pa.null()]
    return pa.schema([*kept, *added], metadata=CONTRACT.schema.metadata)


def faults(schema: pa.Schema) -> list[str]:
    with pytest.raises(ContractBroken) as raised:
        check_schema(schema, CONTRACT, "a-file")
    assert raised.value.item == "a-file"
    return [line.strip() for line in raised.value.what.splitlines()[1:]]


def test_a_schema_that_agrees_passes() -> None:
    check_schema(CONTRACT.schema, CONTRACT, "a-file")
    vector = pa.list_(pa.field("item", pa.float32()), 4)  # as LanceDB calls it
    check_schema(schema_with(vector=vector), CONTRACT, "a-file")


def test_every_column_that_differs_is_named() -> None:
    schema = schema_with(year=pa.string(), title=pa.null(), extra=pa.bool_())
    assert faults(schema) == [
        "column title: expected string, found nothing",
        "column year: expected int64, found string",
        "column extra: expected nothing, found bool",
    ]


def test_a_schema_carries_the_contract_of_its_own_space() -> None:
    plain = pa.schema(list(CONTRACT.schema))
    assert faults(plain) == ["it carries no contract"]
    assert faults(plain.with_metadata({METADATA_KEY: b"{"}))[0].startswith(
        "the contract it carries is damaged"
    )
    other = replace(CONTRACT, space="books/title/v2")
    assert faults(plain.with_metadata(other.schema.metadata)) == ["it belongs to books/title/v2"]
    version = replace(SPEC, preprocessing={**SPEC.preprocessing, "version": 2})
    changed = Contract.of(NAME, version, CONTRACT.metadata)
    (fault,) = faults(plain.with_metadata(changed.schema.metadata))
    assert fault.startswith("preprocessing")


def test_bad_vectors_are_those_that_no_search_can_use() -> None:
    unit = np.array([0.6, 0.8, 0.0, 0.0], np.float32)
    rows = np.stack([unit, np.full(4, np.nan), np.full(4, np.inf), unit * 0, unit * 2, unit * 0.5,
                     unit * (1 + NORM_TOLERANCE / 2), unit * (1 + 2 * NORM_TOLERANCE)])  # fmt: skip
    assert SPEC.normalised
    expected = [False, True, True, True, True, True, False, True]
    assert bad_vectors(rows, SPEC).tolist() == expected
    free = replace(SPEC, normalised=False)
    expected = [False, True, True, True, False, False, False, False]
    assert bad_vectors(rows, free).tolist() == expected


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_vectors_come_out_of_a_table_row_by_row(chunks: int) -> None:
    kind = pa.list_(pa.float32(), 4)
    numbers = np.arange(8, dtype=np.float32).reshape(2, 4)
    arrays = [pa.array(numbers.tolist(), kind) for _ in range(chunks)]
    vectors = vectors_of(pa.table({"vector": pa.chunked_array(arrays, kind)}), 4)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.tile(numbers, (chunks, 1)))
