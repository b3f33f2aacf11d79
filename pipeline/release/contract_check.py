"""Whether a run may publish under its contract, beside what was published under before.

The spec and the content recipe of a space stay what it was first published under (`spec.json`).
Metadata columns belong to a release: its manifest has them, so that they may come and go without a
new version. A space from before recipes were recorded gets its own from a run of everything, after
which each of its rows is made by it; a run of a part of the source cannot know that.
"""

from __future__ import annotations

from dataclasses import replace

from commonspace.encoders.spec import differences
from commonspace.pipeline.contract.contract import Contract, load_contract
from commonspace.pipeline.contract.layout import spec_key
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.contract.recipe import Recipe, recipe_differences
from commonspace.pipeline.errors import Conflict, ContractBroken
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.storage.store import Store


def require_same_contract(
    store: Store, name: SpaceName, contract: Contract, base: Release | None
) -> None:
    """Refuse a contract that differs from the stored one; where none is stored, any will do.

    A metadata column may be added or left out, for it does not change what a vector means. One
    that stays keeps its type.

    Args:
        store: the warehouse.
        name: the space.
        contract: what a run is about to publish under.
        base: the release that the run starts from; None for none.

    Raises:
        ContractBroken: it differs; the message names every difference.
    """
    stored = load_contract(store, name)
    if stored is None:
        return
    changes = [str(difference) for difference in differences(stored.spec, contract.spec)]
    if stored.recipe and contract.recipe:
        changes += recipe_differences(stored.recipe, contract.recipe)
    before, after = base.contract(stored).metadata if base else {}, contract.metadata
    changes += [
        f"metadata column {column}: {before[column]} -> {after[column]}"
        for column in sorted(before.keys() & after.keys())
        if before[column] != after[column]
    ]
    if changes:
        raise ContractBroken(
            "the space was published under another contract:\n  " + "\n  ".join(changes),
            item=str(name),
            do="Vectors or columns of both would be mixed. Undo the change, or set version = "
            f"{name.version + 1} for this space to fill a new version beside this one.",
        )


def record_recipe(store: Store, name: SpaceName, recipe: Recipe) -> None:
    """Complete a stored contract that has no recipe yet; does nothing where there is none to do.

    Raises:
        Conflict: another run has recorded one meanwhile.
        ContractBroken: the stored contract is damaged.
    """
    before, contract = store.read(spec_key(name)), load_contract(store, name)
    if before is None or contract is None or contract.recipe is not None:
        return
    data = replace(contract, recipe=recipe).to_bytes()
    if not store.compare_and_swap(spec_key(name), before.to_pybytes(), data):
        raise Conflict("another run has completed the contract meanwhile", item=str(name))
