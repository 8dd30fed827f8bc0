# SPDX-License-Identifier: Apache-2.0
"""Ask about the newest frame of a live source, and drop the frames for which no request was free.

A thread reads all the time and keeps only the newest frame. So a frame waits at most for the next free request.
Answers are returned in order and as soon as they arrive; they do not wait for another frame.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from yolov8_triton._video.source import FrameSource, Timed, stalled

A = TypeVar("A")
Ask = Callable[[tuple[int, Timed]], A]

_LEAVE_S = 1.0
"""Longest time to wait for the reading thread to end."""


class LiveFrames(Generic[A]):
    """The answers about the newest frames of a live source.

    Attributes:
        dropped: Number of frames that were read and not asked about.
    """

    def __init__(self, source: FrameSource, ask: Ask[A], *, in_flight: int, stall_s: float) -> None:
        self.dropped = 0
        self._source, self._ask, self._in_flight, self._stall_s = source, ask, in_flight, stall_s
        self._changed = threading.Condition()
        self._newest: tuple[int, Timed] | None = None
        self._read = 0
        self._ended = self._over = False
        self._failure: Exception | None = None

    def answers(self) -> Generator[A, None, None]:
        """Yield answers until the source ends.

        Raises:
            VideoError: No frame arrived for ``stall_s``; it is raised after the answers in flight.
            Exception: Reading the source raised it; it is raised after the answers in flight.
        """
        waiting: deque[Future[A]] = deque()
        pool = ThreadPoolExecutor(self._in_flight, thread_name_prefix="yolov8-triton")
        reader = threading.Thread(target=self._keep_reading, name="yolov8-triton-video", daemon=True)
        reader.start()
        try:
            while True:
                step = self._next_step(waiting)
                if step is None:
                    break
                if isinstance(step, Future):
                    yield waiting.popleft().result()
                else:
                    future = pool.submit(self._ask, step)
                    waiting.append(future)
                    future.add_done_callback(self._wake)
            if self._failure is not None:
                raise self._failure
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            with self._changed:
                self._over = True
            reader.join(_LEAVE_S)

    def _next_step(self, waiting: deque[Future[A]]) -> Future[A] | tuple[int, Timed] | None:
        """Wait for the oldest answer or, if a request is free, for a frame; return None at the end."""

        def answered() -> bool:
            return bool(waiting) and waiting[0].done()

        def has_room() -> bool:
            return len(waiting) < self._in_flight

        def has_step() -> bool:
            return answered() or (has_room() and self._newest is not None) or (self._ended and not waiting)

        with self._changed:
            while not self._changed.wait_for(has_step, self._stall_s):
                if has_room():  # so a frame is missing; answers have their own deadline
                    self._failure = stalled(self._stall_s)
                    self._ended = True
            if answered():
                return waiting[0]
            step, self._newest = self._newest, None
            return step

    def _keep_reading(self) -> None:
        try:
            while not self._over:
                frame = self._source.read()
                if frame is None:
                    break
                with self._changed:
                    if self._newest is not None:
                        self.dropped += 1
                    self._newest = (self._read, Timed(*frame))
                    self._read += 1
                    self._changed.notify_all()
        except Exception as exc:  # noqa: BLE001  (it is raised in the thread that takes the answers)
            self._failure = exc
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wake(self, _: Future[A]) -> None:
        with self._changed:
            self._changed.notify_all()
