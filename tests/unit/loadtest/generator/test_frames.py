# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from yolov8_loadtest.generator.frames import Camera, Frame


def test_a_camera_that_is_answered_in_time_sends_every_frame() -> None:
    camera = Camera(fps=10, first_s=0.5)

    frames = [camera.take(camera.next_at()) for _ in range(5)]

    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert not any(frame.dropped for frame in frames)


def test_the_newest_frame_wins_and_those_before_it_are_dropped() -> None:
    camera = Camera(fps=10, first_s=0.0)
    camera.take(0.0)

    assert camera.take(0.47) == Frame(number=4, captured_s=0.4, dropped=3)


def test_after_a_late_answer_the_next_frame_is_in_the_future() -> None:
    camera = Camera(fps=10, first_s=0.0)
    camera.take(0.47)

    assert camera.next_at() == 0.5


def test_frames_that_were_never_sent_are_counted_to_the_end() -> None:
    camera = Camera(fps=10, first_s=0.05)
    camera.take(0.05)

    assert camera.frames_until(1.0) == 9
    assert camera.frames_until(0.1) == 0
