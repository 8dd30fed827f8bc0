# SPDX-License-Identifier: Apache-2.0
"""Test that an object has the same number in all frames of a video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import Camera, clip, number_sent, numbered
from tests.fakes.answers import arrays
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import Detections, Poses, VideoInfo, draw, video

SCENE = VideoInfo(width=100, height=60, fps=10.0)
TRACKED = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]


def found(boxes: list[tuple[float, float, float]]) -> Detections:
    """Return boxes of 20 x 20 pixels at x, y with a score."""
    rows = np.array(boxes, np.float32).reshape(-1, 3)
    xy = rows[:, :2]
    return Detections(
        xyxy=np.concatenate([xy, xy + 20], axis=1),
        confidence=rows[:, 2],
        class_id=np.zeros(len(rows), np.int32),
        labels=("person",),
        orig_shape=(60, 100),
    )


def playing(scenes: list[list[tuple[float, float, float]]]) -> Callable[..., Detections]:
    """Return a substitute for a client's method that returns one scene per frame."""
    return lambda pixels, **_: found(scenes[round(float(pixels.mean()) / 5)])


def numbers(scenes: list[list[tuple[float, float, float]]], **options: Any) -> list[list[int]]:
    frames = video(playing(scenes), Camera(SCENE, len(scenes)), tracker="bytetrack", **options)
    return [list(frame.result.tracker_id) for frame in frames]


def test_objects_that_pass_each_other_keep_their_numbers() -> None:
    scenes = [[(4.0 * t, 5, 0.9), (72 - 4.0 * t, 30, 0.8)] for t in range(18)]

    first, *rest = numbers(scenes)

    assert first == []  # an object gets its number in the second frame that shows it
    assert rest == [[0, 1]] * 17


def test_each_video_has_its_own_numbers() -> None:
    scenes = [[(4.0 * t, 5, 0.9)] for t in range(6)]

    assert numbers(scenes) == numbers(scenes) == [[], *[[0]] * 5]


def test_results_keep_their_order_and_their_other_fields() -> None:
    scenes = [[(70, 30, 0.9), (4.0 * t, 5, 0.8), (40, 5, 0.12)] for t in range(4)]

    *_, last = video(playing(scenes), Camera(SCENE, 4), tracker="bytetrack")

    assert list(last.result.confidence) == pytest.approx([0.9, 0.8])  # the least confident object started no track
    assert last.result.xyxy[1].tolist() == [12, 5, 32, 25]


def test_an_object_with_a_low_score_for_some_frames_keeps_its_number() -> None:
    scores = [0.9, 0.9, 0.15, 0.15, 0.9]

    assert numbers([[(10, 10, score)] for score in scores]) == [[], *[[0]] * 4]


def test_an_object_that_always_has_a_low_score_has_no_number() -> None:
    assert numbers([[(10, 10, 0.5)]] * 4, conf=0.6) == [[]] * 4


@pytest.mark.parametrize(
    ("conf", "sent"), [pytest.param(None, 0.1, id="default"), pytest.param(0.4, 0.1), pytest.param(0.05, 0.05)]
)
def test_the_server_is_asked_for_objects_with_low_scores(
    serve: Serve, connect: Connect, tmp_path: Path, conf: float | None, sent: float
) -> None:
    fake = serve()
    path = clip(tmp_path / "clip.avi", numbered(3))

    list(video(connect(fake).detect, path, tracker="bytetrack", conf=conf))

    assert {request.parameters["conf"].double_param for request in fake.requests} == {sent}


@pytest.mark.slow
@pytest.mark.parametrize("task", TRACKED, ids=lambda task: task.value)
def test_objects_of_each_task_are_tracked(serve: Serve, connect: Connect, tmp_path: Path, task: Task) -> None:
    client = connect(serve(answer=lambda request: arrays(task, 1 + number_sent(request) // 10), task=task))
    path = clip(tmp_path / "clip.avi", numbered(3))

    *_, last = video(getattr(client, task.value), path, tracker="bytetrack")

    result = last.result
    assert result.tracker_id.tolist() == [0]
    assert result[0].tracker_id.tolist() == [0]
    assert result.to_dict()["objects"][0]["tracker_id"] == 0
    seen = result.to_supervision()
    assert (seen.data["tracker_id"] if task is Task.POSE else seen.tracker_id).tolist() == [0]
    plain = draw(last.pixels, getattr(client, task.value)(last.pixels, channels="BGR"), channels="BGR")
    assert (np.asarray(plain)[..., ::-1] != last.draw()).any()  # the number is in the picture


def test_tracks_continue_after_frames_that_failed() -> None:
    def ask(pixels: Any, **_: object) -> Detections:
        if round(float(pixels.mean()) / 5) == 2:
            raise OSError
        return found([(10, 10, 0.9)])

    frames = list(video(ask, Camera(SCENE, 5), tracker="bytetrack"))

    assert [frame.error is None for frame in frames] == [True, True, False, True, True]
    assert [list(frames[index].result.tracker_id) for index in (1, 3, 4)] == [[0]] * 3


def test_frames_with_equal_times_are_tracked_without_a_warning() -> None:
    class Still(Camera):
        def read(self) -> Any:
            frame = super().read()
            return None if frame is None else (0.0, frame[1])

    frames = video(playing([[(10, 10, 0.9)]] * 4), Still(SCENE, 4), tracker="bytetrack")

    assert [list(frame.result.tracker_id) for frame in frames] == [[], *[[0]] * 3]


def test_other_trackers_of_the_package_can_be_used() -> None:
    from trackers import OCSORTTracker

    scenes = [[(4.0 * t, 5, 0.9)] for t in range(8)]

    frames = list(video(playing(scenes), Camera(SCENE, 8), tracker=OCSORTTracker()))

    assert frames[-1].result.tracker_id is not None
    assert len(frames[-1].result.tracker_id) == 1


def test_results_of_a_classifier_cannot_be_tracked(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    client = connect(serve(Task.CLASSIFY))

    with pytest.raises(TypeError, match="only objects can be tracked, got ClassProbabilities"):
        list(video(client.classify, clip(tmp_path / "clip.avi", numbered(2)), tracker="bytetrack"))


def test_the_number_of_tracker_ids_must_be_that_of_the_objects() -> None:
    with pytest.raises(ValueError, match=r"tracker_id: expected shape \(0,\), got \(2,\)"):
        Poses(**{**vars(Poses.empty()), "tracker_id": np.arange(2, dtype=np.int32)})
