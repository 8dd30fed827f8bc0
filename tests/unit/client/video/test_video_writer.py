# SPDX-License-Identifier: Apache-2.0
"""Test that written videos can be read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import STEP, number, numbered, read
from yolov8_triton import VideoError, VideoWriter


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_a_written_video_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"clip{suffix}"

    with VideoWriter(path, fps=12.5) as out:
        for picture in numbered(20, (62, 100)):
            out.write(picture)

    # MPEG-4 makes pictures a little darker, by less than the difference between two of them
    assert [picture.mean() for picture in read(path)] == pytest.approx([n * STEP - 2 for n in range(20)], abs=STEP / 2)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)


def test_a_picture_of_another_size_is_cut_or_padded(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.avi") as out:
        for size in ((60, 100), (80, 90), (40, 200)):
            out.write(np.full((*size, 3), 200, np.uint8))

    frames = read(tmp_path / "clip.avi")
    assert {frame.shape for frame in frames} == {(60, 100, 3)}
    assert frames[1][:, :80].min() > 150
    assert frames[1][:, 98:].max() < 50
    assert frames[2][48:].max() < 50


def test_pictures_with_a_time_keep_the_real_speed(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.avi", fps=10) as out:
        for index, time_s in enumerate([0.0, 0.1, 0.5, 0.52, 1.0]):
            out.write(numbered(5)[index], time_s=time_s)

    # the picture of 0.5 s is repeated for the dropped ones before it; that of 0.52 s comes too early and is left out
    assert [number(frame) for frame in read(tmp_path / "clip.avi")] == [0, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4]


def test_a_video_without_pictures_has_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4"):
        pass

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        pytest.param("clip.webp", 10, r"clip\.webp: expected a name that ends in \.mp4", id="suffix"),
        pytest.param("clip.mp4", 0, "fps: expected a number above 0, got 0", id="fps"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, name: str, fps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoWriter(tmp_path / name, fps=fps)


def test_a_file_that_cannot_be_written_is_an_error_without_output_of_opencv(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.mp4").mkdir()

    with VideoWriter(tmp_path / "clip.mp4") as out, pytest.raises(VideoError, match=r"clip\.mp4: OpenCV can't write"):
        out.write(numbered(1)[0])

    assert capfd.readouterr().err == ""
