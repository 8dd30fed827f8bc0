# SPDX-License-Identifier: Apache-2.0
"""Ask about the newest frame of a source that doesn't wait, and drop those that nobody had time for.

A thread reads all the time and keeps the newest frame alone, so what is asked about is never older than one frame
and the requests in flight. Answers come in order, and as soon as they are there: none waits for another frame.
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
"""How long a source may take to notice that nobody wants it any more."""


class Newest(Generic[A]):
    """The answers about a live source.

    Attributes:
        dropped: How many frames were read and never asked about.
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
        """Yield them until the source ends.

        Raises:
            VideoError: No frame came for ``stall_s``, and what was in flight is answered.
            Exception: Whatever the source raised, likewise.
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
        """Wait for the oldest answer or, where there is room, for a frame; None: nothing will come any more."""

        def answered() -> bool:
            return bool(waiting) and waiting[0].done()

        def room() -> bool:
            return len(waiting) < self._in_flight

        def something() -> bool:
            return answered() or (room() and self._newest is not None) or (self._ended and not waiting)

        with self._changed:
            while not self._changed.wait_for(something, self._stall_s):
                if room():  # so it is a frame that doesn't come; answers have a deadline of their own
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
        except Exception as exc:  # noqa: BLE001  (it is raised where the frames are wanted)
            self._failure = exc
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wake(self, _: Future[A]) -> None:
        with self._changed:
            self._changed.notify_all()
