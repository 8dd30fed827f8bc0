# SPDX-License-Identifier: Apache-2.0
"""Small videos that tests make, and what is in them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

FPS = 10.0
STEP = 5
"""How much lighter each frame of `numbered` is than the last one; compression is less off than half of it."""
MOST = 256 // STEP


def clip(path: Path, frames: list[Pixels], *, fps: float = FPS) -> Path:
    """Write a video in Motion JPEG, which every OpenCV can."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def numbered(count: int, size: tuple[int, int] = (60, 100)) -> list[Pixels]:
    """Return frames that say their number by how light they are; after `MOST` of them they begin anew."""
    return [np.full((*size, 3), number % MOST * STEP, np.uint8) for number in range(count)]


def number(pixels: Pixels) -> int:
    """Return the number of a frame of `numbered`."""
    return round(float(pixels.mean()) / STEP)


def number_sent(request: Any) -> int:
    """Return the number of the frame that a request carries as an encoded image."""
    return number(cv2.imdecode(np.frombuffer(request.raw_input_contents[0], np.uint8), cv2.IMREAD_COLOR))


def read(path: Path) -> list[Pixels]:
    """Return all frames of a video."""
    capture = cv2.VideoCapture(str(path))
    frames: list[Any] = []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    capture.release()
    return frames


class Camera:
    """A live source of your own: as many frames as are wanted, each when ``wait`` returns."""

    def __init__(self, info: Any, count: int, wait: Callable[[int], None] = lambda _: None) -> None:
        self.info = info
        self.count, self.wait = count, wait
        self.taken = 0
        self.closed = 0

    def read(self) -> tuple[float, Pixels] | None:
        self.wait(self.taken)
        if self.taken == self.count:
            return None
        self.taken += 1
        return (self.taken - 1) / FPS, numbered(1)[0] + np.uint8((self.taken - 1) % MOST * STEP)

    def close(self) -> None:
        self.closed += 1


def held_frames(camera: Any) -> set[int]:
    """Return the numbers of a camera's frames that somebody still holds; the set changes as the camera is read."""
    held: set[int] = set()
    read = camera.read

    def watched_read() -> Any:
        frame = read()
        if frame is not None:
            held.add(camera.taken)
            weakref.finalize(frame[1], held.discard, camera.taken)
        return frame

    camera.read = watched_read
    return held
