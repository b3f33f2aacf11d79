"""An image that is decoded for too long is a failure; the others are decoded all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commonspace.encoders.engines.bounded_map import bounded_map
from commonspace.encoders.image.decoder import PillowDecoder
from commonspace.encoders.image.time_limit import TimeLimitedExecutor
from commonspace.encoders.nvjpeg.plain_jpeg import plain_jpeg
from commonspace.encoders.protocol import IMAGE_LIMITS, Failure, ImageLimits, Reason, too_slow
from commonspace.pipeline.config.sections import LimitsSection
from tests.pipeline.source.images.image_files import jpeg_of_scans, saved

TESTED = threading.Event()
"""Set at the end of a test, for the threads that it has given up."""


@pytest.fixture(autouse=True)
def end_abandoned_threads() -> Iterator[None]:
    TESTED.clear()
    yield
    TESTED.set()
    for thread in threading.enumerate():
        if thread.name.startswith("decode"):
            thread.join(60)


def compute(seconds: float) -> float:
    began = time.thread_time()
    while time.thread_time() - began < seconds and not TESTED.is_set():
        pass
    return seconds


def run(calls: list[Any], function: Any = compute, *, seconds: float = 0.4) -> Any:
    with TimeLimitedExecutor(2, seconds, lambda: "late") as executor:
        return list(bounded_map(executor, function, calls, 4))


def test_a_late_call_has_another_result_and_holds_up_no_other() -> None:
    assert run([0.0, 30.0, 0.01, 30.0, 30.0, 0.02, 30.0]) == [
        0.0, "late", 0.01, "late", "late", 0.02, "late",
    ]  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        run([1, 0], lambda number: 1 / number)


def test_waiting_for_a_cpu_or_a_lock_is_not_computing() -> None:
    assert run([0.5], lambda seconds: time.sleep(seconds) or "done") == ["done"]
    assert run([TESTED], lambda event: event.wait(60), seconds=0.05) == ["late"]


def test_no_thread_is_left_but_those_given_up() -> None:
    before = threading.active_count()
    assert run([0.0] * 50) == [0.0] * 50
    assert threading.active_count() == before
    ends = threading.Event()
    assert run([ends], lambda event: event.wait(), seconds=0.05) == ["late"]
    ends.set()
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_abandoned_calls_are_cancelled() -> None:
    with TimeLimitedExecutor(1, 5, lambda: "late") as executor:
        results: Iterator[Any] = bounded_map(executor, compute, [0.0, 0.1, 30.0, 30.0], 3)
        assert next(results) == 0.0
        results.close()  # type: ignore[attr-defined]


def prepared(image: Image.Image, _: Any) -> Any:
    return np.asarray(image.resize((4, 4)))


@pytest.mark.models
def test_a_costly_jpeg_is_a_failure_beside_good_images() -> None:
    costly = jpeg_of_scans(1_000, side=2_000)
    good = saved(Image.new("RGB", (40, 40), "teal"), "PNG")
    decoder = PillowDecoder({}, prepared, ImageLimits(seconds=0.2))
    first, second, third = decoder.decode([good, costly, good], 4)
    assert isinstance(first, tuple)
    assert isinstance(third, tuple)
    assert second == Failure(
        Reason.IMAGE_TOO_COSTLY,
        "decoding takes too long; `max_image_seconds` in [limits] is 0.2",
    )


def test_an_image_of_more_pixels_than_the_encoder_may_decode_is_a_failure() -> None:
    image = saved(Image.new("1", (7_000, 7_200)), "PNG")
    decoder = PillowDecoder({}, prepared)
    assert decoder.read(image) == Failure(
        Reason.IMAGE_TOO_LARGE, "7000 × 7200 pixels; the limit is 50,000,000"
    )
    small = saved(Image.new("RGB", (40, 40), "teal"), "JPEG")
    assert isinstance(PillowDecoder({}, prepared, ImageLimits(1_600)).read(small), tuple)
    assert isinstance(PillowDecoder({}, prepared, ImageLimits(1_599)).read(small), Failure)
    assert plain_jpeg(small, 1_600) is not None
    assert plain_jpeg(small, 1_599) is None


def test_the_limits_of_a_collection_are_those_of_an_encoder() -> None:
    limits = LimitsSection()
    assert ImageLimits(limits.max_image_pixels, limits.max_image_seconds) == IMAGE_LIMITS
    assert too_slow(IMAGE_LIMITS.seconds).message.endswith("is 30")
