"""The state of a release: what makes two releases the same for readers, byte for byte."""

from __future__ import annotations

import hashlib

from commonspace.pipeline.publish.draft import state_digest
from commonspace.pipeline.release.manifest import Part

PARTS = [
    Part(key=f"k{n}", partition=None, bucket="", rows=1, bytes=1, sha256=f"sum{n}") for n in (1, 2)
]


def test_it_is_the_sum_of_the_files_and_of_the_description() -> None:
    text = 'sum1\nsum2\nsum of rejects\n{"encoder": "e", "owner": "o"}'
    expected = hashlib.sha256(text.encode()).hexdigest()
    rejects = {"sha256": "sum of rejects", "rows": 3}
    for description in ({"encoder": "e", "owner": "o"}, {"owner": "o", "encoder": "e"}):
        assert state_digest(PARTS, rejects, description) == expected


def test_no_rejects_are_an_empty_line() -> None:
    expected = hashlib.sha256(b"sum1\n\n{}").hexdigest()
    assert state_digest(PARTS[:1], None, {}) == expected
