# SPDX-License-Identifier: Apache-2.0
"""Ask about the newest frames of many cameras, with one client and one pool of threads.

A thread for each camera reads, and keeps only the newest frame. A scheduler chooses whose frame is sent when a request
is free. A request is in flight until its answer is taken from the iterator, so a slow program sees fewer frames, not
older ones. Tracking and counting happen in the thread that takes the answers.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from yolov8_triton._cameras.areas import need_supervision
from yolov8_triton._cameras.camera import Camera, CameraSource, listed
from yolov8_triton._cameras.channel import Answer, CameraFrame, Channel
from yolov8_triton._cameras.reader import Reader
from yolov8_triton._cameras.scheduler import Scheduler, Share
from yolov8_triton._cameras.statistics import CameraStatistics
from yolov8_triton._client import Client
from yolov8_triton._failover import RetryPolicy
from yolov8_triton._images import Pixels
from yolov8_triton._in_flight import DEFAULT_IN_FLIGHT
from yolov8_triton._options import PredictCallOptions
from yolov8_triton._results.outcome import R
from yolov8_triton._video.tracking import DEFAULT_CONF, byte_track

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

RECONNECT = RetryPolicy(first_pause_s=0.5, longest_pause_s=15.0)
"""The pauses before a failed source is opened again."""

_LEAVE_S = 2.0
"""Longest time to wait for all reading threads to end."""


class CameraFrames(Generic[R]):
    """An iterator over the answered frames of many cameras; `hub` returns it.

    It ends when all sources have ended: files do, cameras and streams are opened again. Frames of one camera come in
    order. ``close()``, which ``with`` calls, stops all threads and releases the sources; a source that hangs in a read
    is released when the read returns.

    Attributes:
        cameras: The cameras, by name.
    """

    def __init__(
        self, ask: Callable[..., R], cameras: Sequence[Camera], *, in_flight: int, reconnect: RetryPolicy
    ) -> None:
        self.cameras: Mapping[str, Camera] = {camera.name: camera for camera in cameras}
        self._changed = threading.Condition()
        self._channels = {camera.name: Channel(camera, ask, self._changed, self._arrived) for camera in cameras}
        self._readers = [Reader(one.camera, one, reconnect=reconnect) for one in self._channels.values()]
        shares = {camera.name: Share(camera.priority, camera.in_flight) for camera in cameras}
        self._scheduler = Scheduler(shares, in_flight=in_flight)
        self._answered: deque[tuple[Channel[R], Future[Answer[R]]]] = deque()
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="yolov8-triton")
        self._closed = False
        for reader in self._readers:
            reader.start()

    def __iter__(self) -> Iterator[CameraFrame[R]]:
        return self

    def __next__(self) -> CameraFrame[R]:
        while True:
            channel, future = self._taken()
            if (frame := channel.finished(future.result())) is not None:
                return frame

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def statistics(self) -> dict[str, CameraStatistics]:
        """Return the statistics of each camera, by name; any thread may call it."""
        now = time.monotonic()
        with self._changed:
            return {name: channel.recorder.snapshot(now) for name, channel in self._channels.items()}

    def last(self, name: str) -> CameraFrame[R] | None:
        """Return the last answered frame of a camera; None without one. Any thread may call it.

        Raises:
            KeyError: There is no camera of that name.
        """
        return self._channels[name].last

    def close(self) -> None:
        """Stop reading, abandon the requests in flight and release the sources."""
        with self._changed:
            self._closed = True
            for channel in self._channels.values():
                channel.closed, channel.newest = True, None
            self._answered.clear()
            self._changed.notify_all()
        for reader in self._readers:
            reader.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + _LEAVE_S
        for reader in self._readers:
            reader.join(max(until - time.monotonic(), 0.0))

    def _taken(self) -> tuple[Channel[R], Future[Answer[R]]]:
        """Wait for an answer and free its request.

        Raises:
            StopIteration: All sources have ended, or the hub is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._answered or self._closed or self._ended())
            if not self._answered:
                raise StopIteration
            channel, future = self._answered.popleft()
            self._scheduler.answered(channel.camera.name)
            self._send()
            return channel, future

    def _ended(self) -> bool:
        return all(one.ended and one.newest is None and not one.pending for one in self._channels.values())

    def _arrived(self, channel: Channel[R]) -> None:
        """Learn of a camera's new frame; the lock is held."""
        self._scheduler.arrived(channel.camera.name)
        self._send()

    def _send(self) -> None:
        """Send frames while requests are free; the lock is held."""
        while not self._closed and (name := self._scheduler.next()) is not None:
            channel = self._channels[name]
            captured, channel.newest = channel.newest, None
            assert captured is not None  # the scheduler knows of it
            future = self._pool.submit(channel.answer, captured)
            channel.pending.append(future)
            future.add_done_callback(partial(self._done, channel))
            self._changed.notify_all()  # a reader may wait for room

    def _done(self, channel: Channel[R], _: Future[Answer[R]]) -> None:
        """Pass a camera's answers on, in order."""
        with self._changed:
            while channel.pending and channel.pending[0].done():
                future = channel.pending.popleft()
                if not self._closed:
                    self._answered.append((channel, future))
            self._changed.notify_all()


def hub(
    ask: Client | Callable[..., R],
    cameras: Mapping[str, CameraSource] | Sequence[Camera],
    *,
    in_flight: int = DEFAULT_IN_FLIGHT,
    reconnect: RetryPolicy = RECONNECT,
    **options: Unpack[PredictCallOptions],
) -> CameraFrames[R]:
    """Ask about the newest frames of many cameras (extra ``cameras``), and yield them as they are answered.

    Whenever a request is free, a camera has its turn, and its newest frame is sent; the frames in between are dropped
    and counted. Cameras of one priority have equal shares; those of a higher priority come first, without stopping the
    others. A source that fails is opened again, with pauses that grow, and delays no other camera.

    Args:
        ask: The client's method for the model's task, such as ``client.detect``; or the client, which is then asked for
            the task.
        cameras: Sources by the names of their cameras, or a list of `Camera`.
        in_flight: Number of requests in flight for all cameras together.
        reconnect: The pauses before a failed source is opened again: ``first_pause_s`` and ``longest_pause_s``.
        **options: The options of ``ask`` for all cameras; those of a camera come before them.

    Raises:
        ImportError: An extra is not installed.
        ValueError: An argument is out of range, or cameras have no distinct names.
        YoloTritonError: ``ask`` is a client, and its server does not tell the task.

    Example:
        >>> with hub(client.detect, {"gate": "rtsp://10.0.0.5/stream", "yard": 0}, conf=0.4) as frames:
        ...     for frame in frames:
        ...         print(frame.camera, frame.age_s, frame.error or frame.result)
    """
    if in_flight < 1:
        raise ValueError(f"in_flight: expected 1 or more, got {in_flight!r}")
    each = listed(cameras, options)
    if any(camera.zones or camera.lines for camera in each):
        need_supervision()
    if any(camera.tracker == "bytetrack" for camera in each):
        byte_track(fps=None, conf=DEFAULT_CONF)  # a missing extra is an error here, and not in a thread
    call: Any = getattr(ask, ask.task.value) if isinstance(ask, Client) else ask
    client = getattr(call, "__self__", None)
    if isinstance(client, Client):
        call = partial(_at_known_level, client, call)
    return CameraFrames(call, each, in_flight=in_flight, reconnect=reconnect)


def _at_known_level(client: Client, ask: Callable[..., R], pixels: Pixels, **options: Any) -> R:
    """Ask without the priority if the model has no such level: it then orders the requests of this hub alone."""
    if "priority" in options:
        levels = client.info(timeout_s=options.get("timeout_s")).priority_levels
        if options["priority"] > levels:
            del options["priority"]
    return ask(pixels, **options)
