"""Releases as they lie in the store: numbered manifests, their parts, and the pointer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from pipeline.contract import Contract, SpaceName, check_schema
from pipeline.errors import ContractBroken, NotPublished
from pipeline.parquet import count_rows, read_groups, read_table
from pipeline.pointer import Current
from pipeline.records import Part, Release, canonical_digest
from pipeline.schemas import REJECTS_SCHEMA
from pipeline.store import Store

STAMP = ["id", "content_digest", "row_digest", "run", "encoded_at"]
"""The columns that differ whenever a row differs."""

_DAMAGED = (
    "`commonspace verify` lists the damage, and with `--repair` takes parts back out of LanceDB; "
    "restore any other file from a copy."
)


def current(store: Store, name: SpaceName) -> Current | None:
    """The promoted release, or None where nothing was promoted yet."""
    data = store.read(name.key("CURRENT"))
    if data is None:
        return None
    try:
        return Current.from_bytes(data.to_pybytes())
    except ContractBroken as error:
        key, do = name.key("CURRENT"), serve_again(store, name)
        raise ContractBroken(error.what, item=key, do=do) from error


def refuse_lost(store: Store, name: SpaceName) -> None:
    """Stop where CURRENT is gone, though releases were served. Raises ContractBroken.

    A release that others were made from was served: a run plans from CURRENT.
    """
    if store.read(name.key("CURRENT")) is None and was_served(store, name):
        raise ContractBroken(
            "the pointer to the served release is lost",
            item=name.key("CURRENT"),
            do=serve_again(store, name),
        )


def was_served(store: Store, name: SpaceName) -> bool:
    """Whether any release that is kept was made from another one."""
    for number in numbers(store, name):
        try:
            if load_release(store, name, number).parent:
                return True
        except (NotPublished, ContractBroken):
            continue
    return False


def serve_again(store: Store, name: SpaceName) -> str:
    """What its owner can do where CURRENT does not say which release is served."""
    return (
        "Restore the file from a copy, or say which release readers are to see: "
        f"`commonspace rollback {name} RELEASE` serves it and holds the space there (kept: "
        f"{spoken(numbers(store, name))})."
    )


def release_key(name: SpaceName, number: int) -> str:
    """Where the manifest of a release lies."""
    return name.key(f"releases/{number:06}.json")


def numbers(store: Store, name: SpaceName) -> list[int]:
    """Every release of the space, candidates included, ascending."""
    found = (re.search(r"/([0-9]{6,})\.json$", key) for key in store.list(name.key("releases")))
    return sorted(int(match[1]) for match in found if match)


def spoken(held: Iterable[int]) -> str:
    """`1, 4 to 9`: numbers in words, `none` where there are none."""
    runs: list[list[int]] = []
    for number in sorted(held):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs) or "none"


def load_release(store: Store, name: SpaceName, number: int) -> Release:
    """The manifest of one release. Raises NotPublished or ContractBroken."""
    key = release_key(name, number)
    data = store.read(key)
    if data is None:
        raise NotPublished(
            f"there is no release {number} (kept: {spoken(numbers(store, name))})",
            item=str(name),
            do="`commonspace releases` lists them; a pinned release is never removed.",
        )
    try:
        document = json.loads(data.to_pybytes())
        digest = document.pop("sha256")
        if canonical_digest(document) != digest:
            raise ValueError("its checksum does not match")
        return Release.from_json(document)
    except (ValueError, TypeError, KeyError) as error:
        raise ContractBroken(f"is damaged: {error}", item=key, do=_DAMAGED) from error


def create_release(store: Store, name: SpaceName, release: Release) -> bool:
    """Commit a manifest under its number; False where another run took the number first."""
    document = release.to_json()
    document["sha256"] = canonical_digest(json.loads(json.dumps(document)))
    data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    return store.create(release_key(name, release.number), data)


def read_part(
    store: Store,
    part: Part,
    contract: Contract,
    columns: Sequence[str] | None = None,
    *,
    deep: bool = False,
) -> pa.Table:
    """A part's rows, its contract and page checksums checked; `deep`: its sha256 too.

    Raises ContractBroken.
    """
    data = _part_bytes(store, part)
    if deep and hashlib.sha256(data).hexdigest() != part.sha256:
        raise ContractBroken("is not the file that was published", item=part.key, do=_DAMAGED)
    table = _promised(read_table(data, part.key, columns), part, contract, columns)
    _check_rows(table.num_rows, part)
    return table


def part_groups(
    store: Store,
    part: Part,
    contract: Contract,
    columns: Sequence[str] | None = None,
    ids: pa.Array | None = None,
) -> Iterator[pa.Table]:
    """As `read_part`, but some thousand rows at a time, of the given ids where there are any."""
    data = _part_bytes(store, part)
    _check_rows(count_rows(data, part.key), part)
    for group in read_groups(data, part.key, columns, ids):
        yield _promised(group, part, contract, columns)


def _part_bytes(store: Store, part: Part) -> pa.Buffer:
    data = store.read(part.key)
    if data is None:
        raise ContractBroken("is missing", item=part.key, do=_DAMAGED)
    if len(data) != part.bytes:
        raise ContractBroken("is not the file that was published", item=part.key, do=_DAMAGED)
    return data


def _promised(
    table: pa.Table, part: Part, contract: Contract, columns: Sequence[str] | None
) -> pa.Table:
    """Whole rows as the contract has them; parts of 0.1.0 stand in the file's order."""
    if columns is not None:
        return table
    check_schema(table.schema, contract, part.key)
    return table.select(contract.schema.names)


def _check_rows(rows: int, part: Part) -> None:
    if rows != part.rows:
        raise ContractBroken(f"holds {rows} rows, the manifest says {part.rows}", item=part.key)


def release_rows(
    store: Store, release: Release, contract: Contract, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """The rows of a release, part by part."""
    for part in release.parts:
        yield read_part(store, part, contract, columns)


def whole(tables: Iterator[pa.Table], schema: pa.Schema) -> pa.Table:
    """All the tables as one; of the given schema where there is none."""
    found = list(tables)
    return pa.concat_tables(found) if found else schema.empty_table()


def release_rejects(store: Store, release: Release | None) -> pa.Table:
    """REJECTS_SCHEMA rows: what the release could not embed."""
    if release is None or release.rejects is None:
        return REJECTS_SCHEMA.empty_table()
    key = str(release.rejects["key"])
    data = store.read(key)
    if data is None:
        raise ContractBroken("is missing", item=key, do=_DAMAGED)
    return read_table(data, key).cast(REJECTS_SCHEMA)
