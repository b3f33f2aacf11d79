"""The served release of a space, with all that `verify` compares it with and repairs it from."""

from __future__ import annotations

from dataclasses import dataclass

from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, NotPublished
from commonspace.pipeline.read.space import open_space
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ServedSpace:
    """What readers of a space are served."""

    store: Store
    name: SpaceName
    contract: Contract
    """With the columns of the release."""
    release: Release
    pointer: Current

    @classmethod
    def load(cls, store: Store, name: str) -> ServedSpace:
        """The space as it is served now; of `collection/space`, as readers resolve the version.

        Raises:
            NotPublished: nothing was promoted.
            ContractBroken: what is stored does not keep the space's contract.
            Conflict: another release is promoted at the same time.
        """
        space = open_space(name, warehouse=store.address)
        full_name = SpaceName.parse(space.name)
        contract, pointer = load_contract(store, full_name), load_current(store, full_name)
        if contract is None or pointer is None:
            raise NotPublished("nothing was promoted", item=name)
        if pointer.release != space.release.number:
            raise promoted_meanwhile(full_name)
        return cls(
            store=store,
            name=full_name,
            contract=space.release.contract(contract),
            release=space.release,
            pointer=pointer,
        )


def promoted_meanwhile(name: SpaceName) -> Conflict:
    """What ends `verify` where the release that it looks at is not served any more."""
    return Conflict(
        "another release was promoted meanwhile", item=str(name), do="Run `verify` again."
    )
