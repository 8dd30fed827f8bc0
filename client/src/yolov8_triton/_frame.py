# SPDX-License-Identifier: Apache-2.0
"""One frame of a video, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

import numpy as np

from yolov8_triton._draw import draw
from yolov8_triton._errors import YoloTritonError
from yolov8_triton._images import Pixels
from yolov8_triton._outcome import Outcome, R


@dataclass(frozen=True, slots=True, eq=False)
class Frame(Generic[R]):
    """One frame of a video, and its result or error.

    Attributes:
        index: Its number in the source, from 0; those that were dropped count.
        time_s: Seconds since the first frame: the file's own time stamp, or for live sources the clock's.
        pixels: ``(height, width, 3)`` uint8 BGR.
        outcome: What was answered.
    """

    index: int
    time_s: float
    pixels: Pixels
    outcome: Outcome[R]

    @property
    def result(self) -> R:
        """What was found; raises the frame's `error` if it has one."""
        return self.outcome.result

    @property
    def error(self) -> YoloTritonError | OSError | None:
        """Why there is no result, if there is none."""
        return self.outcome.error

    def draw(self) -> Pixels:
        """Return a picture of the frame with what was found (extra ``draw``): BGR; as it is if nothing was answered.

        The likeliest classes of a small frame are drawn below it, so that its picture is larger.
        """
        if self.error is not None:
            return self.pixels
        return np.ascontiguousarray(np.asarray(draw(self.pixels, self.result, channels="BGR"))[..., ::-1])
