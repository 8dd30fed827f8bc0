# SPDX-License-Identifier: Apache-2.0
"""The pacing of one Locust user: it sends after each answer, at due times, or when its camera has a new frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

from locust.exception import StopUser

from yolov8_loadtest.generator.frames import Camera
from yolov8_loadtest.generator.generator import Generator
from yolov8_loadtest.scenario.load import Kind, arrivals


class Pace(ABC):
    """The pacing of one user; `step` makes one request, and raises StopUser when the run has no more."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._connection = generator.connection()
        self._mix = generator.mix()

    @abstractmethod
    def step(self) -> None:
        """Wait until a request is due, and send it."""


class Closed(Pace):
    """Closed loop: the user sends its next request after each answer."""

    def step(self) -> None:
        """Send a request at once, and wait for the answer."""
        self._generator.wait_until(max(self._generator.clock.now_s(), 0.0))
        self._generator.ask(self._connection, self._mix.draw())


class Open(Pace):
    """Open loop: requests are sent at their due times, answered or not."""

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
    """Camera: frames are captured at a fixed rate, and the newest is sent after each answer."""

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
