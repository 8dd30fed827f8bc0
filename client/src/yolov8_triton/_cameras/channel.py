# SPDX-License-Identifier: Apache-2.0
"""A camera while the hub runs: its newest frame, its requests, its tracks and counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Generic

from yolov8_triton._cameras.areas import Areas, Crossing
from yolov8_triton._cameras.camera import Camera
from yolov8_triton._cameras.statistics import Recorder
from yolov8_triton._images import Pixels
from yolov8_triton._results.outcome import ITEM_ERRORS, Outcome, R
from yolov8_triton._video.source import VideoInfo
from yolov8_triton._video.tracking import Tracking, tracking_for
from yolov8_triton._video.video import Frame


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CameraFrame(Frame[R]):
    """A frame of a camera with its result or error.

    Attributes:
        camera: Name of the camera.
        captured_at: The time at which it was read, of ``time.monotonic()``.
        age_s: Seconds from its capture to its answer.
        zones: Number of objects in each zone, by name; empty for a frame with an error.
        lines: Objects that have crossed each line so far, by name: counts ``in`` and ``out``.
        crossings: The objects that crossed a line in this frame.
    """

    camera: str
    captured_at: float
    age_s: float
    zones: Mapping[str, int]
    lines: Mapping[str, Mapping[str, int]]
    crossings: tuple[Crossing, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; a frame with an error has ``error`` and ``message``."""
        times = {"frame": self.index, "time_s": round(self.time_s, 6), "age_s": round(self.age_s, 6)}
        if self.error is not None:
            return {"camera": self.camera, **times, "error": type(self.error).__name__, "message": str(self.error)}
        counted: dict[str, Any] = {}
        if self.zones:
            counted["zones"] = dict(self.zones)
        if self.lines:
            counted["lines"] = {name: dict(counts) for name, counts in self.lines.items()}
            counted["crossings"] = [crossing.to_dict() for crossing in self.crossings]
        return {"camera": self.camera, **times, **self.result.to_dict(), **counted}


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """A frame that waits for its request."""

    index: int
    time_s: float
    pixels: Pixels
    captured_at: float


@dataclass(frozen=True, slots=True, eq=False)
class Answer(Generic[R]):
    """A frame, what was answered about it (None if it was too late to ask), and when."""

    captured: Captured
    outcome: Outcome[R] | None
    at: float


class Channel(Generic[R]):
    """A camera of a running hub; ``changed`` is the hub's lock, which its methods for the reader take.

    Attributes:
        camera: The camera.
        recorder: Its statistics.
        newest: The frame that waits for a request; None without one.
        pending: The requests in flight, oldest first.
        last: The last frame that was answered; None without one.
        ended: Whether no further frame will come.
        closed: Whether the hub is closed.
    """

    def __init__(
        self,
        camera: Camera,
        ask: Callable[..., R],
        changed: threading.Condition,
        arrived: Callable[[Channel[R]], None],
    ) -> None:
        self.camera = camera
        self.recorder = Recorder(time.monotonic())
        self.newest: Captured | None = None
        self.pending: deque[Future[Answer[R]]] = deque()
        self.last: CameraFrame[R] | None = None
        self.ended = self.closed = False
        self._ask, self._changed, self._arrived = ask, changed, arrived
        self._options: dict[str, Any] = {**camera.options, "channels": "BGR"}
        if camera.priority is not None:
            self._options.setdefault("priority", camera.priority)
        self._read = 0
        self._tracking: Tracking[R] | None = None
        self._areas = Areas(camera.zones, camera.lines)

    def opened(self, info: VideoInfo) -> None:
        """Take the properties of the source."""
        if self._tracking is None:  # tracks outlive a reconnection
            self._tracking = tracking_for(self.camera.tracker, self.camera.fps or info.fps, self._options)
        with self._changed:
            self.recorder.opened()

    def frame(self, time_s: float, pixels: Pixels, captured_at: float, *, keep: bool) -> bool:
        """Take a frame in place of the one that waits, or after it."""
        with self._changed:
            self._changed.wait_for(lambda: not keep or self.newest is None or self.closed)
            if self.closed:
                return False
            self.recorder.frame(captured_at)
            if self.newest is not None:
                self.recorder.counts["dropped"] += 1
            self.newest = Captured(self._read, time_s, pixels, captured_at)
            self._read += 1
            self._arrived(self)
            return True

    def skipped(self) -> None:
        """Count a frame that is beyond the camera's rate."""
        with self._changed:
            self.recorder.frame(time.monotonic())
            self.recorder.counts["skipped"] += 1
            self._read += 1

    def failed(self, kind: str, message: str) -> None:
        """Take an error of the source."""
        with self._changed:
            self.recorder.error(kind, message)
            self.recorder.lost()

    def over(self) -> None:
        """Learn that no further frame will come."""
        with self._changed:
            self.ended = True
            self.recorder.ended()
            self._changed.notify_all()

    def answer(self, captured: Captured) -> Answer[R]:
        """Ask about a frame, within the time that its deadline leaves."""
        options = self._options
        if self.camera.deadline_s is not None:
            left_s = captured.captured_at + self.camera.deadline_s - time.monotonic()
            if left_s <= 0:
                return Answer(captured, None, time.monotonic())
            options = {**options, "timeout_s": left_s}
        try:
            outcome: Outcome[R] = Outcome(captured.pixels, self._ask(captured.pixels, **options))
        except ITEM_ERRORS as exc:
            outcome = Outcome(captured.pixels, exc)
        return Answer(captured, outcome, time.monotonic())

    def finished(self, answer: Answer[R]) -> CameraFrame[R] | None:
        """Return the frame of an answer with its tracks and counts; None if it was too late to ask.

        Answers must come in the order of their frames.
        """
        captured, outcome, at = answer.captured, answer.outcome, answer.at
        if outcome is None:
            with self._changed:
                self.recorder.counts["late"] += 1
            return None
        age_s = at - captured.captured_at
        if outcome.error is None and self._tracking is not None:
            outcome = replace(outcome, _answer=self._tracking.tracked(outcome.result, captured.time_s))
        counts = self._areas.counted(None if outcome.error is not None else outcome.result)
        with self._changed:
            if outcome.error is None:
                self.recorder.result(at, age_s)
            else:
                self.recorder.counts["failed"] += 1
                self.recorder.error(type(outcome.error).__name__, str(outcome.error))
            self.last = CameraFrame(
                captured.index,
                captured.time_s,
                captured.pixels,
                outcome,
                camera=self.camera.name,
                captured_at=captured.captured_at,
                age_s=age_s,
                zones=counts.zones,
                lines=counts.lines,
                crossings=counts.crossings,
            )
            return self.last
