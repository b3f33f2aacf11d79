"""Finished shards outlive a run, and the version of commonspace that made them."""

from __future__ import annotations

from typing import Any

import pytest

from commonspace.encoders.hashed import HashedEncoder
from commonspace.encoders.protocol import FACTS, Encoded
from commonspace.pipeline.encode.stage import encode_stage
from tests.support.warehouse import Warehouse, numbered_items


def test_a_shard_from_before_a_column_came_is_published_with_nulls(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of an earlier version was killed after it had encoded."""
    collection = warehouse.collection(numbered_items(5))
    encode = HashedEncoder.encode

    def encode_earlier(*arguments: Any) -> Encoded:
        encoded = encode(*arguments)
        facts = [{name: fact[name] for name in earlier_facts} for fact in encoded.facts]
        return Encoded(encoded.vectors, encoded.positions, facts, encoded.failures)

    earlier_facts = {name: kind for name, kind in FACTS["text"].items() if name != "tokens_unknown"}
    with monkeypatch.context() as earlier:
        earlier.setitem(FACTS, "text", earlier_facts)  # type: ignore[index]
        earlier.setattr(HashedEncoder, "encode", encode_earlier)
        work, shards = warehouse.planned(collection)
        encode_stage(work, shards)
    warehouse.run_without_error(collection)
    rows = warehouse.open().to_arrow()
    assert rows["tokens_unknown"].to_pylist() == [None] * 5
    assert None not in rows["tokens_used"].to_pylist()
    assert warehouse.verify()["ok"]
