# SPDX-License-Identifier: Apache-2.0
"""Test many cameras on one client: order, shares, sources that fail, deadlines, and what is left behind."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.clips import clip, held_frames, number, number_sent, numbered
from tests.fakes.answers import arrays
from tests.unit.client.cameras.sources import Rubbish, Stalling, Steady, dead
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import (
    Camera,
    CameraFrame,
    CameraFrames,
    DeadlineExceededError,
    Detections,
    InvalidImageError,
    Line,
    RetryPolicy,
    Zone,
    hub,
)

QUICK = RetryPolicy(first_pause_s=0.02, longest_pause_s=0.1)


def nothing(_: object, **options: object) -> Detections:
    del options
    return Detections.empty()


def during(frames: CameraFrames[Any], seconds: float) -> list[CameraFrame[Any]]:
    """Return the frames of some seconds."""
    until = time.monotonic() + seconds
    return list(itertools.takewhile(lambda _: time.monotonic() < until, frames))


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_frames_of_each_camera_come_in_order_with_their_results(serve: Serve, connect: Connect) -> None:
    sources = {name: Steady(100, 40) for name in ("gate", "yard", "door")}
    fake = serve(answer=lambda request: arrays(Task.DETECT, number_sent(request)))

    with hub(connect(fake).detect, sources, in_flight=3) as frames:
        seen = list(frames)
        statistics = frames.statistics()

    for name, source in sources.items():
        own = [frame for frame in seen if frame.camera == name]
        indices = [frame.index for frame in own]
        assert indices == sorted(set(indices))
        assert all(len(frame.result) == number(frame.pixels) == frame.index for frame in own)
        assert all(0 < frame.age_s < 5 for frame in own)
        assert indices[-1] == 39  # no newer frame replaces the last one
        assert statistics[name].read == source.taken == 40
        assert statistics[name].answered + statistics[name].dropped == 40
        assert statistics[name].state == "ended"
        assert source.closed == 1


def test_a_client_is_asked_for_its_model_s_task(serve: Serve, connect: Connect) -> None:
    with hub(connect(serve(Task.POSE)), {"one": Steady(100, 3)}) as frames:
        assert {frame.result.task for frame in frames} == {Task.POSE}


def test_options_of_the_hub_are_those_of_all_cameras_and_a_camera_s_own_come_first() -> None:
    asked: dict[float, dict[str, Any]] = {}

    def ask(pixels: Any, **options: Any) -> Detections:
        asked[pixels.shape[0]] = options
        return Detections.empty()

    cameras = [
        Camera(name="small", source=Steady(100, 1, size=(20, 30)), options={"conf": 0.7}, priority=2),
        Camera(name="large", source=Steady(100, 1, size=(40, 60))),
    ]
    with hub(ask, cameras, conf=0.3, classes=["person"]) as frames:
        list(frames)

    assert asked[20] == {"conf": 0.7, "classes": ["person"], "channels": "BGR", "priority": 2}
    assert asked[40] == {"conf": 0.3, "classes": ["person"], "channels": "BGR"}


@pytest.mark.parametrize(("levels", "sent"), [(2, [1, 2, None]), (1, [1, None, None]), (0, [None, None, None])])
def test_a_priority_is_sent_to_models_that_have_the_level(
    serve: Serve, connect: Connect, levels: int, sent: list[int | None]
) -> None:
    fake = serve(priority_levels=levels)
    cameras = [
        Camera(name=str(priority), source=Steady(100, 1), priority=priority, deadline_s=20) for priority in (1, 2, 3)
    ]

    with hub(connect(fake).detect, cameras) as frames:
        assert [frame.error for frame in frames] == [None] * 3

    found = [request.parameters["priority"].int64_param or None for request in fake.requests]
    assert sorted(found, key=str) == sorted(sent, key=str)


@pytest.mark.slow
def test_a_dead_a_stalling_and_a_babbling_camera_delay_no_other() -> None:
    stalling = Stalling(50, after=5)
    cameras = {
        "good": Steady(50),
        "stalling": stalling,
        "dead": dead,
        "none": lambda: Rubbish(None),
        "grey": lambda: Rubbish(np.zeros((4, 4), np.uint8)),
        "empty": lambda: Rubbish(np.zeros((0, 4, 3), np.uint8)),
    }
    with hub(nothing, cameras, in_flight=2, reconnect=QUICK) as frames:
        seen = during(frames, 3.0)
        statistics = frames.statistics()
        stalling.released.set()

    ages = [frame.age_s for frame in seen if frame.camera == "good"]
    assert len(ages) >= 100
    assert sorted(ages)[len(ages) * 9 // 10] < 0.1
    assert statistics["good"].state == "live"
    assert statistics["stalling"].state == "stale"
    assert statistics["dead"].errors["open"] >= 5
    assert statistics["dead"].message == "no route to host"
    assert {statistics[name].errors["read"] > 3 for name in ("none", "grey", "empty")} == {True}
    assert "expected (height, width, 3) uint8 BGR, got uint8 (4, 4)" in statistics["grey"].message


def test_a_source_that_fails_is_opened_again_and_its_frames_count_on() -> None:
    opened: list[Steady] = []

    def flaky() -> Steady:
        if len(opened) == 1 and not failed:
            failed.append(True)
            raise OSError("it is starting")
        opened.append(Steady(100, 5))
        return opened[-1]

    failed: list[bool] = []
    with hub(nothing, {"flaky": flaky}, reconnect=QUICK) as frames:
        seen = list(itertools.islice(frames, 15))
        statistics = frames.statistics()["flaky"]

    assert [frame.index for frame in seen] == sorted({frame.index for frame in seen})
    assert seen[-1].index >= 14
    times = [frame.time_s for frame in seen]
    assert times == sorted(times)
    assert statistics.reconnects >= 2
    assert statistics.errors["open"] == 1
    assert statistics.errors["ended"] >= 2
    assert all(source.closed == 1 for source in opened[:-1])


@pytest.mark.slow
def test_a_file_plays_at_its_own_rate_or_as_fast_as_answers_arrive(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.avi", numbered(20), fps=20)

    def slow(_: object, **options: object) -> Detections:
        del options
        time.sleep(0.01)
        return Detections.empty()

    begin = time.monotonic()
    with hub(slow, [Camera(name="file", source=path)]) as frames:
        realtime = [frame.index for frame in frames]
    took_s = time.monotonic() - begin
    with hub(slow, [Camera(name="file", source=path, pace="fast", in_flight=1)]) as frames:
        fast = [frame.index for frame in frames]
        dropped = frames.statistics()["file"].dropped

    assert took_s >= 19 / 20
    assert realtime[-1] == 19
    assert fast == list(range(20))
    assert dropped == 0


def test_a_file_can_start_again_with_rising_times(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.avi", numbered(5), fps=50)

    with hub(nothing, [Camera(name="file", source=path, loop=True, pace="fast", in_flight=1)]) as frames:
        seen = list(itertools.islice(frames, 5000 // 100))

    assert [number(frame.pixels) for frame in seen] == [*range(5)] * 10
    assert [frame.time_s for frame in seen] == pytest.approx([n / 50 for n in range(50)], abs=0.001)


@pytest.mark.slow
def test_a_camera_is_asked_about_no_more_often_than_its_fps() -> None:
    with hub(nothing, [Camera(name="one", source=Steady(50, 100), fps=10)]) as frames:
        seen = list(frames)
        statistics = frames.statistics()["one"]

    assert 18 <= len(seen) <= 22
    assert statistics.read == 100
    assert statistics.skipped == 100 - len(seen) - statistics.dropped


@pytest.mark.slow
def test_a_deadline_counts_from_the_capture_and_late_frames_are_not_asked_about() -> None:
    given: list[float] = []

    def ask(_: object, **options: Any) -> Detections:
        given.append(options["timeout_s"])
        time.sleep(0.25)
        if options["timeout_s"] < 0.25:
            raise DeadlineExceededError("too late")
        return Detections.empty()

    cameras = [Camera(name=str(n), source=Steady(5, 10), deadline_s=0.3, in_flight=1) for n in range(4)]
    with hub(ask, cameras, in_flight=1) as frames:
        list(frames)
        statistics = frames.statistics().values()

    assert all(0 < timeout_s <= 0.3 for timeout_s in given)
    assert sum(one.late for one in statistics) + sum(one.failed for one in statistics) > 0
    assert sum(one.answered + one.failed for one in statistics) == len(given)


def test_the_error_of_a_frame_is_its_own() -> None:
    def ask(pixels: Any, **options: object) -> Detections:
        del options
        if number(pixels) == 3:
            raise InvalidImageError("number three")
        return Detections.empty()

    with hub(ask, {"one": Steady(20, 8)}) as frames:
        seen = list(frames)
        statistics = frames.statistics()["one"]

    assert [frame.index for frame in seen if frame.error is not None] == [3]
    assert seen[3].to_dict()["error"] == "InvalidImageError"
    assert (statistics.failed, statistics.errors) == (1, {"InvalidImageError": 1})


@pytest.mark.slow
def test_a_program_that_is_slow_gets_newest_frames_and_no_queue() -> None:
    with hub(nothing, {str(n): Steady(100) for n in range(4)}, in_flight=4) as frames:
        ages = []
        for frame in itertools.islice(frames, 40):
            time.sleep(0.05)
            ages.append(time.monotonic() - frame.captured_at)
        statistics = frames.statistics()

    assert sorted(ages)[20] < 0.05 * (4 + 2)
    answered = [one.answered for one in statistics.values()]
    assert max(answered) - min(answered) <= 2
    assert all(one.dropped > 50 for one in statistics.values())


def test_closing_ends_all_threads_and_releases_the_sources() -> None:
    before = set(threading.enumerate())
    sources = {str(n): Steady(50) for n in range(6)}
    frames = hub(nothing, sources)
    next(frames)
    begin = time.monotonic()
    frames.close()

    assert time.monotonic() - begin < 2
    wait_for(lambda: not set(threading.enumerate()) - before, 5)
    assert all(source.closed == 1 for source in sources.values())
    assert list(frames) == []
    frames.close()


def test_a_hub_that_waits_can_be_closed_from_another_thread() -> None:
    frames = hub(nothing, {"dead": dead})
    threading.Timer(0.2, frames.close).start()

    assert list(frames) == []


def test_an_error_of_the_program_is_raised() -> None:
    def broken(_: object, **options: object) -> Detections:
        del options
        raise TypeError("unexpected keyword argument")

    with hub(broken, {"one": Steady(50)}) as frames, pytest.raises(TypeError, match="unexpected keyword"):
        next(frames)


def box(x: float) -> Detections:
    return Detections(
        xyxy=np.array([[x - 10, 30, x + 10, 50]], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([0], np.int32),
        labels=("person",),
        orig_shape=(100, 200),
    )


@pytest.mark.slow
def test_objects_are_counted_in_zones_and_at_lines() -> None:
    def ask(pixels: Any, **options: object) -> Detections:
        assert options["conf"] == 0.1  # what a tracker continues a track with
        return box(20.0 + 6 * number(pixels))

    camera = Camera(
        name="walk",
        source=Steady(20, 26, size=(100, 200)),
        tracker="bytetrack",
        in_flight=1,
        zones=[Zone(name="left", points=[(0, 0), (60, 0), (60, 99), (0, 99)])],
        lines=[Line(name="door", start=(100, 0), end=(100, 99))],
        options={"conf": 0.4},
    )
    with hub(ask, [camera]) as frames:
        seen = list(frames)

    inside = [frame.zones["left"] for frame in seen]
    assert inside[2] == 1
    assert inside[-1] == 0
    crossed = [crossing for frame in seen for crossing in frame.crossings]
    assert [(one.line, one.direction, one.class_name) for one in crossed] == [("door", "in", "person")]
    assert seen[-1].lines == {"door": {"in": 1, "out": 0}}
    assert seen[-1].to_dict()["lines"] == {"door": {"in": 1, "out": 0}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: hub(nothing, {}), "cameras: expected one or more, got none", id="none"),
        pytest.param(lambda: hub(nothing, {"a": 0}, in_flight=0), "in_flight: expected 1 or more, got 0", id="flight"),
        pytest.param(
            lambda: hub(nothing, [Camera(name="a", source=0), Camera(name="a", source=1)]),
            "two have the name 'a'",
            id="twice",
        ),
        pytest.param(lambda: Camera(name="a", source=0, fps=0), "camera 'a': fps: expected a number above 0", id="fps"),
        pytest.param(lambda: Camera(name="a", source=0, priority=0), "priority: expected 1 (first) or", id="priority"),
        pytest.param(lambda: Camera(name="a\n", source=0), "name: expected printable text", id="name"),
        pytest.param(lambda: Camera(name="a", source=""), "camera 'a': source: expected a file", id="source"),
        pytest.param(
            lambda: Camera(name="a", source=0, lines=[Line(name="l", start=(0, 0), end=(1, 1))]),
            "line 'l' needs a tracker",
            id="line",
        ),
        pytest.param(lambda: Zone(name="z", points=[(0, 0), (1, 1)]), "expected 3 or more, got 2", id="zone"),
        pytest.param(lambda: Line(name="l", start=(0, 0), end=(0, 0)), "a start and an end that differ", id="points"),
        pytest.param(lambda: Line(name="l", start=(0, 0), end=(1, 0), anchor="top"), "expected one of", id="anchor"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is compared below)
        make()

    assert message in str(caught.value)


def test_frames_are_released_after_their_results() -> None:
    camera = Steady(500, 300)
    held = held_frames(camera)

    with hub(nothing, {"one": camera}) as frames:
        most = max(len(held) for _ in frames)

    assert most <= 2 + 5  # requests in flight, and the frames that reader, slot, loop and `last` refer to


def test_the_last_answered_frame_of_each_camera_can_be_had() -> None:
    with hub(nothing, {"one": Steady(50, 5), "dead": dead}, reconnect=QUICK) as frames:
        shown = next(frames)
        assert frames.last("one") is shown
        assert frames.last("dead") is None
        with pytest.raises(KeyError):
            frames.last("other")
        assert cv2.imencode(".jpg", shown.pixels)[0]
