"""Verify: is what readers are served still what was published?"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.canary.check import check_canary
from commonspace.pipeline.canary.reference import read_published_canary
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import (
    Contract,
    bad_vectors,
    check_schema,
    load_contract,
)
from commonspace.pipeline.contract.layout import current_key, promotion_lock_key, table_folder
from commonspace.pipeline.contract.name import SpaceName
from commonspace.pipeline.errors import Conflict, NotPublished
from commonspace.pipeline.index import vector_index
from commonspace.pipeline.index.connection import (
    check_table,
    connect,
    fetch_rows,
    open_table,
    translating_store_errors,
)
from commonspace.pipeline.index.difference import read_compared_columns
from commonspace.pipeline.index.recall_gate import measure_indexes
from commonspace.pipeline.index.sync import rewrite_table, rows_equal
from commonspace.pipeline.maintenance.restore import restore_parts
from commonspace.pipeline.maintenance.retain import orphans
from commonspace.pipeline.maintenance.verify_indexes import check_indexes
from commonspace.pipeline.publish.pending import promotion_problems
from commonspace.pipeline.publish.promote import recover_promotion
from commonspace.pipeline.read.query_encoder import unchecked_encoder
from commonspace.pipeline.read.space import open_space
from commonspace.pipeline.release.history import load_readable_manifests
from commonspace.pipeline.release.manifest import Release
from commonspace.pipeline.release.parts import read_part
from commonspace.pipeline.release.pointer import Current, load_current
from commonspace.pipeline.storage.store import Store


def verify_space(
    store: Store, name: str, *, repair: bool = False, canary: bool = False
) -> dict[str, Any]:
    """Check the current release of a space against all that is known of it.

    Manifest checksum, every part's checksum, schema, contract, row count, unique ids, vectors;
    the canary's file; then LanceDB, row for row and bit for bit, the files of its indices and
    what they find, and whether a promotion was interrupted, which `repair` undoes. `repair`
    rebuilds the table from Parquet where only the table is wrong, and parts from the table where
    their bytes come out the same; a canary is never made anew. `canary` loads the encoder and
    compares its vectors of the probes. Raises NotPublished.

    Of other releases only the manifests are read; where one is damaged, `orphans` is None. What was
    mended stands in `restored` (keys of parts) and `rebuilt` (the table); in `repaired`, whether
    that was all that was wrong with them.
    """
    space = open_space(name, warehouse=store.address)
    full = SpaceName.parse(space.name)
    contract, pointer = load_contract(store, full), load_current(store, full)
    if contract is None or pointer is None:
        raise NotPublished("nothing was promoted", item=name)
    if pointer.release != space.release.number:
        raise _promoted_meanwhile(full)
    # First, while LanceDB has no threads yet: a model may be converted in a child process.
    told, canary_problems = _check_canary(store, full, contract, space.release, check_encoder=canary)
    problems = _check_files(store, space.release, contract)
    restored: list[str] = []
    if repair and problems:
        restored = restore_parts(store, contract, space.release, pointer)
        problems = _check_files(store, space.release, contract) if restored else problems
    table_problems = [] if problems else _check_table(store, full, contract, space.release, pointer)
    rebuilt = repair and bool(table_problems)
    if rebuilt:
        pointer = _rebuild(store, full, contract, space.release)
        table_problems = _check_table(store, full, contract, space.release, pointer)
    damaged = load_readable_manifests(store, full)[1]
    others = [f"{error.item}: {error.what}" for error in damaged.values()]
    return {
        "space": space.name,
        "release": space.release.number,
        "rows": space.release.rows,
        "parts": len(space.release.parts),
        "table_version": pointer.table_version,
        "indices": asdict(pointer.indexes) if pointer.indexes else None,
        "canary": told,
        "orphans": None if damaged else len(orphans(store, full)),
        "problems": problems + table_problems + canary_problems + others,
        "restored": restored,
        "rebuilt": rebuilt,
        "repaired": bool(restored or rebuilt) and not (problems or table_problems),
        "ok": not (problems or table_problems or canary_problems or others),
    }


def _check_files(store: Store, release: Release, contract: Contract) -> list[str]:
    return _check_parts(store, release, contract) + _check_rejects(store, release)


def _check_parts(store: Store, release: Release, contract: Contract) -> list[str]:
    problems: list[str] = []
    ids: Counter[str] = Counter()
    for part in release.parts:
        try:
            table = read_part(store, part, contract, verify_sha256=True)
        except CommonspaceError as error:
            problems.append(f"{part.key}: {error.what}")
            continue
        ids.update(table["id"].to_pylist())
        vectors = vectors_of(table, contract.spec.dim)
        bad = int(bad_vectors(vectors, contract.spec).sum())
        if bad:
            problems.append(f"{part.key}: {bad} vectors are not finite unit ones")
    doubled = [item for item, count in ids.items() if count > 1]
    if doubled:
        problems.append(f"{len(doubled)} ids stand twice, {doubled[0]!r} among them")
    if not problems and ids.total() != release.rows:
        problems.append(f"{ids.total()} rows, the manifest says {release.rows}")
    return problems


def _check_rejects(store: Store, release: Release) -> list[str]:
    if release.rejects is None:
        return []
    data = store.read(str(release.rejects["key"]))
    if data is None or hashlib.sha256(data).hexdigest() != release.rejects["sha256"]:
        return [f"{release.rejects['key']}: is missing or not the file that was published"]
    return []


def _check_canary(
    store: Store, name: SpaceName, contract: Contract, release: Release, *, check_encoder: bool
) -> tuple[dict[str, Any] | None, list[str]]:
    """What there is of the canary, and what is wrong with it or with the encoder."""
    try:
        canary = read_published_canary(store, name, contract, release.canary)
    except CommonspaceError as error:
        return None, [f"{error.item}: {error.what}. {error.do} --repair makes no new one."]
    if canary is None:
        return None, []
    told = {
        "run": canary.origin["run"],
        "probes": len(canary.probes),
        "without_vector": sum(reason is not None for reason in canary.reasons),
        "tolerance": contract.spec.tolerance,
        "largest_angle": None,
        "device": None,
    }
    if not check_encoder:
        return told, []
    try:
        check = check_canary(canary, unchecked_encoder(release, contract))
    except CommonspaceError as error:
        return told, [f"the canary cannot be checked: {error}"]
    told |= {"largest_angle": check.angle, "device": check.device}
    return told, [] if check.ok else [f"{check.what}. {check.do}"]


def _check_table(
    store: Store, name: SpaceName, contract: Contract, release: Release, pointer: Current
) -> list[str]:
    try:
        with translating_store_errors(str(name)):
            table = open_table(connect(store.address), name.table)
            if table is None:
                return ["the LanceDB table is gone"]
            check_table(table, contract)
            check_schema(table.schema, contract, "the LanceDB table")
            table.checkout(pointer.table_version)
            if table.count_rows() != release.rows:
                return [f"LanceDB holds {table.count_rows()} rows, the release {release.rows}"]
            # Some damage shows only to those who read some columns, as searches do.
            read_compared_columns(table)
            vector_index.nearest_query(table, np.ones(contract.spec.dim, np.float32), 1, None).to_arrow()
            for part in release.parts:
                rows = read_part(store, part, contract)
                if not rows_equal(rows, fetch_rows(table, rows["id"].to_pylist())):
                    return [f"LanceDB holds other rows than {part.key}"]
            if wrong := check_indexes(table, store, name, contract, release, pointer):
                return wrong
    except CommonspaceError as error:
        return [f"{error.item}: {error.what}"]
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        return [f"the LanceDB table cannot be read: {str(error).splitlines()[0][:200]}"]
    return promotion_problems(store, name)


def _rebuild(store: Store, name: SpaceName, contract: Contract, release: Release) -> Current:
    """The table written anew from Parquet; readers of an older version keep it."""
    with store.lock(promotion_lock_key(name)):
        pointer = _rebuild_held(store, name, contract, release)
    recover_promotion(store, name, contract)
    return load_current(store, name) or pointer


def _rebuild_held(store: Store, name: SpaceName, contract: Contract, release: Release) -> Current:
    key = current_key(name)
    before = store.read(key)
    if before is None:
        raise NotPublished("nothing was promoted", item=str(name))
    served = Current.from_bytes(before.to_pybytes())
    if served.release != release.number:
        raise _promoted_meanwhile(name)
    done = rewrite_table(store.address, store, name, contract, release, served.table_version)
    indices = measure_indexes(store, name, contract, release, done)
    store.flush(table_folder(name))
    pointer = replace(served, table_version=done.version, indexes=indices)
    if not store.compare_and_swap(key, before.to_pybytes(), pointer.to_bytes()):
        raise _promoted_meanwhile(name)
    return pointer


def _promoted_meanwhile(name: SpaceName) -> Conflict:
    return Conflict(
        "another release was promoted meanwhile", item=str(name), do="Run `verify` again."
    )
