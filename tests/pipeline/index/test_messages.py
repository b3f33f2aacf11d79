"""What LanceDB says, in the words that a person may be shown."""

from __future__ import annotations

import pytest

from commonspace.pipeline.index.connection import plain_message

PLACE = (
    "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/lance-13.0.0/src/dataset.rs:775:26"
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"lance error: Not found: w/a.lance, {PLACE}", "Not found: w/a.lance"),
        (
            f"lance error: LanceError(IO): Generic memory error: Invalid range 0..0, {PLACE}",
            "Invalid range 0..0",
        ),
        (
            "lance error: LanceError(IO): Generic N/A error: Wrapped error: Not found: Wrapped "
            "error: Not found: /a/b.lance",
            "Not found: /a/b.lance",
        ),
        (
            "lance error: A prerequisite task failed: LanceError(IO): Generic LocalFileSystem "
            "error: Is a directory (os error 21)",
            "Is a directory (os error 21)",
        ),
        ("a title\nof two lines", "a title of two lines"),
    ],
)
def test_no_layer_and_no_place_is_shown(said: str, shown: str) -> None:
    assert plain_message(said) == shown
