"""Which keys a store takes: those that stay within it, whatever document named them."""

from __future__ import annotations

from commonspace.pipeline.errors import ContractBroken


def confined(key: str) -> str:
    """The key.

    Raises:
        ContractBroken: it leads out of the warehouse, or no file can have such a name.
    """
    if key.startswith("/") or "\0" in key or ".." in key.split("/"):
        raise ContractBroken(
            "is no key of a warehouse",
            item=repr(key)[:200],
            do="Something other than commonspace has edited a file of the warehouse: "
            "`commonspace verify` says what is damaged.",
        )
    return key
