# SPDX-License-Identifier: Apache-2.0
"""Cameras of all characters: steady ones, and those that die, stall, or bring what is not a picture."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from tests.clips import MOST, STEP
from yolov8_triton import VideoInfo


class Steady:
    """A live source of a fixed rate; its frames say their number by how light they are.

    Attributes:
        taken: Number of frames so far.
        closed: How often it was closed.
    """

    def __init__(self, fps: float = 50.0, count: int | None = None, *, size: tuple[int, int] = (60, 100)) -> None:
        self.info = VideoInfo(width=size[1], height=size[0], fps=fps, live=True)
        self.taken = self.closed = 0
        self._fps, self._count = fps, count
        self._begin: float | None = None

    def read(self) -> Any:
        if self._begin is None:
            self._begin = time.monotonic()
        if self._count is not None and self.taken >= self._count:
            return None
        time.sleep(max(self._begin + self.taken / self._fps - time.monotonic(), 0.0))
        self.taken += 1
        shade = (self.taken - 1) % MOST * STEP
        return (self.taken - 1) / self._fps, np.full((self.info.height, self.info.width, 3), shade, np.uint8)

    def close(self) -> None:
        self.closed += 1


class Stalling(Steady):
    """A source that hangs after some frames until it is released."""

    def __init__(self, fps: float, after: int) -> None:
        super().__init__(fps)
        self._after = after
        self.released = threading.Event()

    def read(self) -> Any:
        if self.taken >= self._after:
            self.released.wait(60)
            return None
        return super().read()


class Rubbish(Steady):
    """A source whose frames are not pictures."""

    def __init__(self, frame: object) -> None:
        super().__init__()
        self._frame = frame

    def read(self) -> Any:
        return 0.0, self._frame


def dead() -> Steady:
    """Fail to open."""
    raise OSError("no route to host")
