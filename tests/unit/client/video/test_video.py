# SPDX-License-Identifier: Apache-2.0
"""Test videos: all frames of a file, the newest frames of a live source, and sources that fail."""

from __future__ import annotations

import itertools
import logging
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from tests.clips import FPS, MOST, Camera, clip, held_frames, number, number_sent, numbered
from tests.fakes.answers import arrays
from tests.fakes.fake_triton import Refusal
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import Detections, InvalidImageError, VideoError, VideoInfo, video
from yolov8_triton._video.source import quiet

LIVE = VideoInfo(width=100, height=60, fps=FPS, live=True)
COUNT = 40
LIMIT_S = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return clip(tmp_path / "clip.avi", numbered(COUNT))


def counted(request: Any) -> dict[str, Any]:
    """Return as many objects as the frame's number says."""
    return arrays(Task.DETECT, number_sent(request))


def nothing(_: object, **options: object) -> Detections:
    del options
    return Detections.empty()


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [None, 1, 100])
def test_every_frame_of_a_file_has_one_result_in_order(
    serve: Serve, connect: Connect, path: Path, in_flight: int | None
) -> None:
    fake = serve(answer=counted)

    with video(connect(fake).detect, path, in_flight=in_flight) as frames:
        seen = list(frames)

    assert (frames.info.width, frames.info.height, frames.info.fps, frames.info.frame_count) == (100, 60, FPS, COUNT)
    assert not frames.info.live
    assert frames.dropped == 0
    assert [frame.index for frame in seen] == list(range(COUNT))
    assert [len(frame.result) for frame in seen] == [number(frame.pixels) for frame in seen] == list(range(COUNT))
    assert [frame.time_s for frame in seen] == pytest.approx([index / FPS for index in range(COUNT)])
    assert len(fake.requests) == COUNT


def test_frames_are_sent_as_jpeg_with_their_colours(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    blue = np.full((60, 100, 3), (250, 10, 10), np.uint8)
    fake = serve()

    (frame,) = video(connect(fake).detect, clip(tmp_path / "blue.avi", [blue]), conf=0.3)

    content = fake.requests[0].raw_input_contents[0]
    assert content.startswith(b"\xff\xd8")
    sent = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    for pixels in (sent, frame.pixels):
        assert pixels.reshape(-1, 3).mean(axis=0) == pytest.approx([250, 10, 10], abs=6)
    assert fake.requests[0].parameters["conf"].double_param == 0.3


def test_the_other_frames_are_processed_after_one_fails(serve: Serve, connect: Connect, path: Path) -> None:
    def answer(request: Any) -> dict[str, Any]:
        if number_sent(request) == 7:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "invalid image: it is number seven")
        return arrays(Task.DETECT)

    seen = list(video(connect(serve(answer=answer)).detect, path))

    assert [frame.index for frame in seen if frame.error is not None] == [7]
    assert type(seen[7].error) is InvalidImageError
    assert seen[7].draw() is seen[7].pixels
    with pytest.raises(InvalidImageError, match="number seven"):
        _ = seen[7].result


def test_frames_are_released_after_their_results() -> None:
    camera = Camera(VideoInfo(width=100, height=60), 500)
    held = held_frames(camera)
    most = 0

    for frame in video(nothing, camera, in_flight=4):
        assert frame.error is None
        most = max(most, len(held))

    assert most <= 4 + 4  # requests in flight, and the frames that generator, loop and threads refer to


def test_the_newest_frame_of_a_live_source_is_sent_and_the_dropped_ones_are_counted(
    serve: Serve, connect: Connect
) -> None:
    late: list[int] = []
    camera = Camera(LIVE, 400, lambda _: time.sleep(0.001))

    def slow(request: Any) -> dict[str, Any]:
        late.append(camera.taken - 1 - last_index(number_sent(request), camera.taken))
        time.sleep(0.02)  # the time of twenty frames
        return arrays(Task.DETECT, number_sent(request))

    with video(connect(serve(answer=slow)).detect, camera) as frames:
        seen = [(frame.index, number(frame.pixels), len(frame.result)) for frame in frames]

    indices = [index for index, _, _ in seen]
    assert indices == sorted(set(indices))
    assert all(shown == found == index % MOST for index, shown, found in seen)
    assert frames.dropped > 100
    assert len(seen) + frames.dropped == camera.taken == 400
    assert indices[-1] == 399  # no newer frame replaces the last one
    assert (
        sorted(late)[len(late) // 2] <= 10
    )  # frames; a frame that waited for the request before it would be twenty frames old
    assert camera.closed == 1


def last_index(shown: int, taken: int) -> int:
    """Return the index of the last taken frame that shows this number."""
    return max(index for index in range(shown, taken, MOST))


def test_a_result_of_a_live_source_does_not_wait_for_the_next_frame() -> None:
    over = threading.Event()
    camera = Camera(LIVE, 3, lambda taken: None if taken == 0 else over.wait(LIMIT_S) and None)

    with video(nothing, camera, in_flight=4, stall_s=LIMIT_S) as frames:
        begin = time.monotonic()
        assert next(frames).index == 0
        assert time.monotonic() - begin < LIMIT_S / 4
        over.set()


def test_all_frames_of_a_live_source_can_be_requested() -> None:
    camera = Camera(LIVE, 50)

    assert [frame.index for frame in video(nothing, camera, frames="all")] == list(range(50))
    assert camera.closed == 1


@pytest.mark.slow
def test_a_stalled_live_source_is_an_error_after_the_results() -> None:
    over = threading.Event()
    camera = Camera(LIVE, 10, lambda taken: None if taken < 1 else over.wait(LIMIT_S) and None)
    seen: list[int] = []

    with pytest.raises(VideoError, match=r"no frame for 0\.2 s"):
        seen.extend(frame.index for frame in video(nothing, camera, stall_s=0.2))
    over.set()

    assert seen == [0]


@pytest.mark.parametrize("frames", ["all", "newest"])
def test_an_error_of_a_source_is_raised(frames: Any) -> None:
    def fail(taken: int) -> None:
        if taken == 2:
            raise ZeroDivisionError

    camera = Camera(LIVE, 10, fail)
    with pytest.raises(ZeroDivisionError):
        list(video(nothing, camera, frames=frames))
    assert camera.closed == 1


@pytest.mark.parametrize("frames", ["all", "newest"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_loop_that_is_left_early_closes_the_video(frames: Any, first: int) -> None:
    camera = Camera(LIVE, 1_000_000)

    with video(nothing, camera, frames=frames) as taken:
        assert len(list(itertools.islice(taken, first))) == first

    assert camera.closed == 1
    assert camera.taken < 1_000_000


def test_a_slow_loop_over_a_live_source_gets_new_frames() -> None:
    camera = Camera(LIVE, 300, lambda _: time.sleep(0.001))
    behind = []

    for frame in video(nothing, camera):
        behind.append(camera.taken - 1 - frame.index)
        time.sleep(0.01)

    # Two results may wait while the loop is busy for the time of ten frames; there is never a longer queue.
    assert sorted(behind)[len(behind) // 2] < 60


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        pytest.param("missing.mp4", FileNotFoundError, "no such video file", id="missing"),
        pytest.param("", FileNotFoundError, "no such video file", id="empty"),
        pytest.param("notes.txt", VideoError, "notes.txt: OpenCV can't open it", id="no-video"),
        pytest.param(77, VideoError, "camera 77: OpenCV can't open it", id="no-camera"),
    ],
)
def test_a_source_that_cannot_be_opened_is_an_error_at_once(
    source: Any, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("no video")

    with pytest.raises(error, match=message):
        video(nothing, source, stall_s=2)


@pytest.mark.slow
def test_an_unreachable_address_is_an_error_without_the_password_and_without_output_of_opencv() -> None:
    code = (
        "from yolov8_triton import VideoError, video\n"
        "try: video(print, 'rtsp://me:secret@127.0.0.1:1/x', stall_s=5)\n"
        "except VideoError as exc: print(exc)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT_S)

    assert done.stdout == (
        "rtsp://127.0.0.1:1/x: OpenCV can't open it: is it a video, is it reachable, and is no program using it?\n"
    )
    assert done.stderr == ""


def test_a_file_that_ends_early_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    whole = clip(tmp_path / "whole.avi", [rng.integers(0, 255, (60, 100, 3), np.uint8) for _ in range(COUNT)])
    content = whole.read_bytes()
    (tmp_path / "half.avi").write_bytes(content[: len(content) // 2])

    with caplog.at_level(logging.WARNING, logger="yolov8_triton"):
        seen = list(video(nothing, tmp_path / "half.avi"))

    assert 0 < len(seen) < COUNT
    assert f"half.avi: ended after {len(seen)} of " in caplog.text


@pytest.mark.parametrize("wrong", [{"in_flight": 0}, {"stall_s": 0}])
def test_wrong_arguments_are_refused_at_once(wrong: dict[str, Any], path: Path) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        video(nothing, path, **wrong)


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    yield
    end = time.monotonic() + 10
    while any(one.name == "yolov8-triton-video" for one in threading.enumerate()):
        assert time.monotonic() < end, "a thread still reads a source"
        time.sleep(0.01)


def turned_clip(path: Path, degrees: int) -> Path:
    """Write a video of 96 x 64 pixels, white above and black below, that is to be turned clockwise when it is shown."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:16] = 255
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (96, 64))
    for _ in range(5):
        writer.write(frame)
    writer.release()
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    content = path.read_bytes()
    straight, turned = (
        struct.pack(">9i", c << 16, s << 16, 0, -s << 16, c << 16, 0, 0, 0, 1 << 30) for c, s in ((1, 0), (cos, sin))
    )
    place = content.index(straight, content.index(b"tkhd"))
    path.write_bytes(content[:place] + turned + content[place + len(turned) :])
    return path


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_phone_s_video_is_turned_as_its_metadata_says(tmp_path: Path, degrees: int) -> None:
    upright = np.zeros((64, 96), np.uint8)
    upright[:16] = 255
    expected = np.rot90(upright, -degrees // 90)

    with video(nothing, turned_clip(tmp_path / "phone.mp4", degrees)) as frames:
        seen = [frame.pixels[..., 0] for frame in frames]

    assert (frames.info.height, frames.info.width) == expected.shape
    assert len(seen) == 5
    for pixels in seen:
        assert pixels.shape == expected.shape
        assert np.abs(pixels.astype(int) - expected).mean() < 10


def without_frames(path: Path) -> Path:
    """Write a video whose header is complete and whose frames are all damaged."""
    content = bytearray(clip(path, numbered(5)).read_bytes())
    begin = content.index(b"movi") + 4
    content[begin : content.index(b"idx1")] = bytes(content.index(b"idx1") - begin)
    path.write_bytes(content)
    return path


def test_a_video_without_a_frame_is_an_error(tmp_path: Path) -> None:
    path = without_frames(tmp_path / "none.avi")

    with (
        pytest.raises(VideoError, match=r"none\.avi: OpenCV can read no frame of it|none\.avi: OpenCV can't open it"),
        video(nothing, path) as frames,
    ):
        list(frames)


@pytest.mark.parametrize("newer", [False, True], ids=["until-4.12", "from-4.13-on"])
def test_opencv_is_silenced_by_the_functions_that_it_has(newer: bool) -> None:
    levels = [4]
    log = SimpleNamespace(getLogLevel=lambda: levels[-1], setLogLevel=levels.append)
    module = SimpleNamespace(utils=SimpleNamespace(logging=log)) if newer else log
    if not newer:
        module.utils = SimpleNamespace()

    with quiet(module):
        assert levels[-1] == 0

    assert levels[-1] == 4
