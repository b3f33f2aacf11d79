"""CURRENT moves by compare-and-swap: a lock only saves work, for a lease may be taken for dead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pyarrow as pa
import pytest

from commonspace.pipeline.contract.contract import load_contract
from commonspace.pipeline.contract.layout import current_key, promotion_key, promotion_lock_key
from commonspace.pipeline.errors import Conflict
from commonspace.pipeline.index.connection import connect
from commonspace.pipeline.publish.manual import promote_by_hand, roll_back
from commonspace.pipeline.publish.pending import load_pending_promotion
from commonspace.pipeline.publish.promote import Promotion, recover_promotion, serve
from commonspace.pipeline.release.manifest import load_release
from commonspace.pipeline.release.pointer import load_current
from commonspace.pipeline.storage.local import LocalStore
from tests.support.warehouse import NAME, Warehouse, numbered_items


class StoreOfExpiredLocks(LocalStore):
    """Its locks keep nobody out, as a lease does whose holder was taken for dead."""

    after_next_read: Callable[[], object] | None = None
    """What happens right after CURRENT is read the next time."""

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        yield

    def read(self, key: str) -> pa.Buffer | None:
        data = super().read(key)
        if key == current_key(NAME) and self.after_next_read is not None:
            happens, self.after_next_read = self.after_next_read, None
            data = None if data is None else pa.py_buffer(data.to_pybytes())
            happens()
        return data


@pytest.mark.parametrize("served", [0, 1], ids=["nothing is served", "a release is served"])
def test_of_two_promotions_at_once_one_is_refused(warehouse: Warehouse, served: int) -> None:
    if served:
        warehouse.run(numbered_items(10))
    for count in (12, 14):
        warehouse.run(numbered_items(count), promote=False)
    slow, fast = served + 1, served + 2
    store, contract = StoreOfExpiredLocks(warehouse.root), load_contract(warehouse.store, NAME)
    promotion = Promotion(release=load_release(store, NAME, slow), by="a-run", after=served)
    store.after_next_read = lambda: promote_by_hand(warehouse.store, NAME, fast)

    with pytest.raises(Conflict, match="another run was promoted meanwhile"):
        serve(store, NAME, contract, promotion)

    current = load_current(warehouse.store, NAME)
    assert current is not None
    assert (current.release, current.run) == (fast, "promote")
    assert [entry.release for entry in current.served] == [1] * served
    assert load_pending_promotion(warehouse.store, NAME) is not None, "whoever comes next recovers"
    assert len(warehouse.open()) == 14
    assert recover_promotion(warehouse.store, NAME, contract)
    assert not recover_promotion(warehouse.store, NAME, contract), "once is enough"
    assert connect(warehouse.address).open_table(NAME.table).count_rows() == 14
    assert warehouse.verify()["ok"]


def test_a_promotion_keeps_no_hold_that_came_meanwhile(warehouse: Warehouse) -> None:
    """A run that read CURRENT before a rollback would lift the rollback's hold."""
    for count in (10, 12):
        warehouse.run(numbered_items(count))
    warehouse.run(numbered_items(14), promote=False)
    store, contract = StoreOfExpiredLocks(warehouse.root), load_contract(warehouse.store, NAME)
    promotion = Promotion(release=load_release(store, NAME, 3), by="a-run", after=2)
    store.after_next_read = lambda: roll_back(warehouse.store, NAME, 1)
    with pytest.raises(Conflict):
        serve(store, NAME, contract, promotion)
    current = load_current(warehouse.store, NAME)
    assert current is not None
    assert current.release == 1
    assert current.hold is not None


def test_a_promotion_that_ends_while_it_is_taken_for_dead_is_left_alone(
    warehouse: Warehouse,
) -> None:
    """Whoever meets an announcement waits for the lock, and by then the promotion has ended."""
    store = warehouse.store
    warehouse.publish_releases(1)
    first = store.read(current_key(NAME))
    warehouse.run(numbered_items(2))
    second, contract = store.read(current_key(NAME)), load_contract(store, NAME)
    assert first is not None
    assert second is not None
    assert contract is not None
    store.put(current_key(NAME), first)
    store.put(promotion_key(NAME), b'{"release": 2, "by": "run"}')
    with ThreadPoolExecutor(1) as other:
        with store.lock(promotion_lock_key(NAME)):
            recovered = other.submit(recover_promotion, store, NAME, contract)
            with pytest.raises(TimeoutError):
                recovered.result(timeout=1)
            store.put(current_key(NAME), second)
            store.delete(promotion_key(NAME))
        assert recovered.result(timeout=30) is False
    assert store.read(current_key(NAME)) == second
    assert warehouse.verify()["ok"]
