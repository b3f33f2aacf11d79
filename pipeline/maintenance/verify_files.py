"""Verify: are the files of the served release those that were published?"""

from __future__ import annotations

import hashlib
from collections import Counter

from commonspace.encoders.errors import CommonspaceError
from commonspace.pipeline.contract.columns import vectors_of
from commonspace.pipeline.contract.contract import bad_vectors
from commonspace.pipeline.maintenance.served_space import ServedSpace
from commonspace.pipeline.release.parts import read_part


def verify_files(space: ServedSpace) -> list[str]:
    """What is wrong with the release's parts and its file of rejects, a sentence each."""
    return _check_parts(space) + _check_rejects(space)


def _check_parts(space: ServedSpace) -> list[str]:
    problems: list[str] = []
    ids: Counter[str] = Counter()
    spec = space.contract.spec
    for part in space.release.parts:
        try:
            table = read_part(space.store, part, space.contract, verify_sha256=True)
        except CommonspaceError as error:
            problems.append(f"{part.key}: {error.what}")
            continue
        ids.update(table["id"].to_pylist())
        bad = int(bad_vectors(vectors_of(table, spec.dim), spec).sum())
        if bad:
            problems.append(f"{part.key}: {bad} vectors are not finite, or not of norm 1")
    repeated = [item for item, count in ids.items() if count > 1]
    if repeated:
        problems.append(f"{len(repeated)} ids occur more than once, {repeated[0]!r} among them")
    if not problems and ids.total() != space.release.rows:
        problems.append(
            f"the parts hold {ids.total()} rows, the manifest says {space.release.rows}"
        )
    return problems


def _check_rejects(space: ServedSpace) -> list[str]:
    rejects = space.release.rejects
    if rejects is None:
        return []
    data = space.store.read(str(rejects["key"]))
    if data is None or hashlib.sha256(data).hexdigest() != rejects["sha256"]:
        return [f"{rejects['key']}: is missing or not the file that was published"]
    return []
