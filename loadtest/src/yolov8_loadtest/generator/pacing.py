# SPDX-License-Identifier: Apache-2.0
"""When one Locust user asks: as soon as it is answered, when a request is due, or when its camera has a new frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

from locust.exception import StopUser

from yolov8_loadtest.generator.frames import Camera
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
