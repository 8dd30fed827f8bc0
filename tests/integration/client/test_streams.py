# SPDX-License-Identifier: Apache-2.0
"""Live streams through OpenCV and FFmpeg, as a camera on the network sends them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from tests.clips import FPS, MOST, Pixels, number, numbered
from tests.fakes.streams import served
from yolov8_triton import Detections, VideoError, video

COUNT = 40
SIZE = (64, 96)
SCHEMES = ["http", "rtsp"]
FAST_FPS = 5 * FPS


def slow(_: object, **options: object) -> Detections:
    del options
    time.sleep(0.1)
    return Detections.empty()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_newest_frames_of_a_stream_are_asked_about_until_it_ends(scheme: str) -> None:
    with (
        served(scheme, lambda: numbered(COUNT, SIZE), fps=FAST_FPS) as url,
        video(slow, url, stall_s=10) as frames,
    ):
        seen = list(frames)

    assert frames.info.live
    assert (frames.info.height, frames.info.width) == SIZE
    assert len(seen) + frames.dropped == COUNT
    assert frames.dropped > COUNT / 4
    assert [number(frame.pixels) for frame in seen] == [frame.index for frame in seen]
    assert [frame.index for frame in seen] == sorted({frame.index for frame in seen})


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_stream_that_brings_nothing_any_more_is_an_error(scheme: str) -> None:
    over = threading.Event()

    def hanging() -> Iterator[Pixels]:
        yield from numbered(MOST // 2, SIZE)
        over.wait(60)

    with served(scheme, hanging, fps=FAST_FPS) as url, video(slow, url, stall_s=1) as frames:
        try:
            with pytest.raises(VideoError, match="stalled"):
                list(frames)
        finally:
            over.set()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_endless_stream_can_be_left(scheme: str) -> None:
    endless = itertools.chain.from_iterable(itertools.repeat(numbered(MOST, SIZE)))
    with served(scheme, lambda: endless, fps=FPS) as url, video(slow, url, stall_s=10) as frames:
        next(frames)
        begin = time.monotonic()
        frames.close()

    assert time.monotonic() - begin < 10
    assert list(frames) == []
