# SPDX-License-Identifier: Apache-2.0
"""When one Locust user asks: as soon as it is answered, when a request is due, or when its camera has a new frame.

A camera whose newest frame wins: those that came while it waited for an answer are dropped.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from locust.exception import StopUser

from yolov8_loadtest.generator.generator import Generator
from yolov8_loadtest.scenario.load import Kind, arrivals


class Pace(ABC):
    """The rhythm of one user; `step` makes one request, and raises StopUser when there is no more to come."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._connection = generator.connection()
        self._mix = generator.mix()

    @abstractmethod
    def step(self) -> None:
        """Wait until a request is due, and send it."""


class Closed(Pace):
    """A caller that asks again when it has its answer."""

    def step(self) -> None:
        """Ask at once."""
        self._generator.wait_until(max(self._generator.clock.now_s(), 0.0))
        self._generator.ask(self._connection, self._mix.draw())


class Open(Pace):
    """A source of requests that are due at their times, answered or not."""

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        scenario = generator.scenario
        self._due = arrivals(scenario.load, generator.share, scenario.seed)

    def step(self) -> None:
        """Wait until the next request is due, send it and don't wait for the answer."""
        due_s = next(self._due, None)
        if due_s is None:
            raise StopUser
        self._generator.wait_until(due_s)
        self._generator.ask_soon(self._connection, self._mix.draw(), due_s)


class CameraStream(Pace):
    """A camera: frames at a fixed rate, the newest one is sent when the last one is answered."""

    def __init__(self, generator: Generator) -> None:
        super().__init__(generator)
        fps = generator.scenario.load.fps
        starts_s = max(generator.clock.now_s(), 0.0)
        # Cameras are not in step with each other.
        self._camera = Camera(fps, starts_s + self._mix.fraction() / fps)

    def step(self) -> None:
        """Wait for a frame, send it and wait for the answer."""
        generator, target = self._generator, self._mix.draw()
        if (end_s := generator.scenario.load.duration_s) <= generator.clock.now_s():
            generator.drop(target, self._camera.next_at(), self._camera.frames_until(end_s))
            raise StopUser
        generator.wait_until(self._camera.next_at())
        frame = self._camera.take(generator.clock.now_s())
        generator.drop(target, frame.captured_s, frame.dropped)
        generator.ask(self._connection, target, frame.captured_s)


KINDS: dict[Kind, type[Pace]] = {Kind.CLOSED: Closed, Kind.OPEN: Open, Kind.CAMERAS: CameraStream}


class Frame(NamedTuple):
    """A frame to send: its number, the second it was captured at, and how many were dropped before it."""

    number: int
    captured_s: float
    dropped: int


class Camera:
    """Frames at a fixed rate.

    Args:
        fps: Frames a second.
        first_s: When the first one is captured.
    """

    def __init__(self, fps: float, first_s: float) -> None:
        self._fps = fps
        self._first_s = first_s
        self._sent = -1

    def next_at(self) -> float:
        """Return when there is a frame newer than the last one sent; perhaps in the past."""
        return self._captured_s(self._sent + 1)

    def take(self, now_s: float) -> Frame:
        """Take the newest frame at a moment that is not before `next_at`."""
        number = max(math.floor((now_s - self._first_s) * self._fps + 1e-9), self._sent + 1)
        dropped, self._sent = number - self._sent - 1, number
        return Frame(number, self._captured_s(number), dropped)

    def frames_until(self, end_s: float) -> int:
        """Return how many frames are newer than the last one sent and captured before a moment."""
        return max(math.ceil((end_s - self._first_s) * self._fps - 1e-9) - (self._sent + 1), 0)

    def _captured_s(self, number: int) -> float:
        return self._first_s + number / self._fps
