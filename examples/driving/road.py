# SPDX-License-Identifier: Apache-2.0
"""Draw a drive, or read one that was recorded, and play it as a camera does: at a rate that can change, with faults."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from yolov8_triton import VideoInfo

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Vehicle = tuple[float, float, Colour]
"""Where it is on its way at the start, from 0 (far) to 1; its lane from -1 to 1; its colour."""

HEIGHT, WIDTH = 270, 480
_FRAMES = 24
_SKY, _GRASS, _ROAD, _WHITE, _GLASS = (200, 170, 130), (60, 110, 70), (80, 80, 80), (235, 235, 235), (70, 50, 40)
_WAIT_S = 0.02


def drawn(view: str) -> list[Pixels]:
    """Return the frames of a short loop: a road with vehicles, the same ones for each run of a view."""
    chance = random.Random(view)
    vehicles = [
        (chance.uniform(0, 1), chance.uniform(-1, 1), (chance.randrange(40, 230), chance.randrange(40, 230), 90))
        for _ in range(4)
    ]
    return [_frame(number / _FRAMES, vehicles) for number in range(_FRAMES)]


def _frame(moment: float, vehicles: list[Vehicle]) -> Pixels:
    """Return the picture at a moment from 0 to 1, at which the loop starts again."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    horizon = HEIGHT * 2 // 5
    image[:horizon], image[horizon:] = _SKY, _GRASS
    middle = WIDTH // 2
    road = [(middle - 15, horizon), (middle + 15, horizon), (WIDTH - 20, HEIGHT), (20, HEIGHT)]
    cv2.fillPoly(image, [np.array(road, np.int32)], _ROAD)
    for mark in range(6):
        near = ((mark + moment * 2) / 6 % 1) ** 2
        y = round(horizon + near * (HEIGHT - horizon))
        cv2.rectangle(
            image, (middle - 1 - round(4 * near), y), (middle + 1 + round(4 * near), y + round(14 * near)), _WHITE, -1
        )
    for start, lane, colour in sorted(vehicles, key=lambda one: (one[0] + moment) % 1):
        _vehicle(image, near=0.15 + 0.85 * ((start + moment) % 1) ** 2, lane=lane, colour=colour)
    return image


def _vehicle(image: Pixels, *, near: float, lane: float, colour: Colour) -> None:
    horizon = HEIGHT * 2 // 5
    width, height = round(110 * near), round(80 * near)
    x = round(WIDTH / 2 + lane * 170 * near)
    y = round(horizon + near * (HEIGHT - horizon) * 0.95)
    left, right = x - width // 2, x + width // 2
    cv2.rectangle(image, (left, y - height), (right, y - height // 6), colour, -1)
    cv2.rectangle(image, (left + width // 6, y - height * 9 // 10), (right - width // 6, y - height // 2), _GLASS, -1)
    for wheel in (left + width // 5, right - width // 5):
        cv2.circle(image, (wheel, y - height // 8), max(height // 8, 1), (20, 20, 20), -1)


def recorded(path: Path) -> Iterator[Pixels]:
    """Yield the frames of a video file, again and again."""
    while True:
        capture = cv2.VideoCapture(str(path))
        count = 0
        while (read := capture.read())[0]:
            count += 1
            yield np.asarray(read[1], np.uint8)
        capture.release()
        if count == 0:
            raise OSError(f"{path}: expected a video that OpenCV can read, got no frame")


def frames_of(view: str, folder: Path | None) -> Iterator[Pixels]:
    """Return the endless frames of a view: those of ``FOLDER/VIEW.*``, or drawn ones without a folder.

    Raises:
        FileNotFoundError: The folder has no file for the view.
    """
    if folder is None:
        return itertools.cycle(drawn(view))
    for path in sorted(folder.glob(f"{view}.*")):
        return recorded(path)
    raise FileNotFoundError(f"{folder}: has no video for camera {view!r}; expected a file such as {view}.mp4")


class RoadCamera:
    """A live source of frames, as `yolov8_triton.hub` takes one.

    Args:
        frames: The endless frames.
        fps: Returns the rate at this moment; with 0, the camera rests.
        broken: Tells whether the camera is broken at this moment.

    Raises:
        ConnectionError: The camera is broken; also raised by `read`.
    """

    def __init__(self, frames: Iterator[Pixels], fps: Callable[[], float], broken: Callable[[], bool]) -> None:
        self.info = VideoInfo(width=WIDTH, height=HEIGHT, fps=max(fps(), 1.0), live=True)
        self._frames, self._fps, self._broken = frames, fps, broken
        self._begin = self._last = time.monotonic()
        self._check()

    def read(self) -> tuple[float, Pixels]:
        """Wait until the next frame is due; return its time in seconds and its pixels (BGR)."""
        while (fps := self._fps()) == 0 or time.monotonic() < self._last + 1 / fps:
            self._check()
            left_s = _WAIT_S if fps == 0 else self._last + 1 / fps - time.monotonic()
            time.sleep(min(max(left_s, 0.0), _WAIT_S))
        self._check()
        now = time.monotonic()
        self._last = max(self._last + 1 / fps, now - 1 / fps)  # a frame that was late is not made up for
        return now - self._begin, next(self._frames)

    def close(self) -> None:
        """Do nothing: a drive can be played again."""

    def _check(self) -> None:
        if self._broken():
            raise ConnectionError("the camera's cable is pulled (--break)")
