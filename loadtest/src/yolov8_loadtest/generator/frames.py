# SPDX-License-Identifier: Apache-2.0
"""A camera that sends its newest frame: frames captured while it waits for an answer are dropped."""

from __future__ import annotations

import math
from typing import NamedTuple


class Frame(NamedTuple):
    """A frame to send: its number, the second it was captured at, and how many were dropped before it."""

    number: int
    captured_s: float
    dropped: int


class Camera:
    """A camera that captures frames at a fixed rate.

    Args:
        fps: Frames a second.
        first_s: Second at which the first frame is captured.
    """

    def __init__(self, fps: float, first_s: float) -> None:
        self._fps = fps
        self._first_s = first_s
        self._sent = -1

    def next_at(self) -> float:
        """Return the second at which a frame newer than the last one sent is captured; it may be in the past."""
        return self._captured_s(self._sent + 1)

    def take(self, now_s: float) -> Frame:
        """Take the newest frame at a moment, which must not be before `next_at`."""
        number = max(math.floor((now_s - self._first_s) * self._fps + 1e-9), self._sent + 1)
        dropped, self._sent = number - self._sent - 1, number
        return Frame(number, self._captured_s(number), dropped)

    def frames_until(self, end_s: float) -> int:
        """Return how many frames are newer than the last one sent and captured before a moment."""
        return max(math.ceil((end_s - self._first_s) * self._fps - 1e-9) - (self._sent + 1), 0)

    def _captured_s(self, number: int) -> float:
        return self._first_s + number / self._fps
