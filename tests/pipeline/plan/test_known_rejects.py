"""Which rejects of a release another attempt cannot help."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from commonspace.encoders.protocol import Failure, Reason, too_slow
from commonspace.pipeline.plan.known_rejects import permanent_rejects
from commonspace.pipeline.release.rejects import REJECTS_SCHEMA, reject_row

BROKEN = Failure(Reason.UNREADABLE_IMAGE, "broken")


def row(item: str, failure: Failure, stage: str = "encode", **known: Any) -> dict[str, Any]:
    return reject_row(failure, stage=stage, run="r", id=item, **{"content_digest": "d", **known})


def test_what_another_limit_of_time_refused_is_tried_again() -> None:
    rows = [
        row("broken", BROKEN),
        row("late", too_slow(30)),
        row("later", too_slow(2.5)),
        row("transient", Failure(Reason.MISSING_CONTENT, "gone", retryable=True)),
        row("pulled", BROKEN, stage="pull"),
        row("without content", BROKEN, content_digest=None),
    ]
    rejects = pa.Table.from_pylist(rows, REJECTS_SCHEMA)
    for seconds, expected in {30: ["broken", "late"], 2.5: ["broken", "later"]}.items():
        assert permanent_rejects(rejects, seconds)["id"].to_pylist() == expected
