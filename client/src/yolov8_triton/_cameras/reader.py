# SPDX-License-Identifier: Apache-2.0
"""Read a camera in a thread of its own, and open it again when it fails.

Whatever a source does, it does it to this thread: it may hang, raise, or bring what is not a picture.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Literal, Protocol

import numpy as np

from yolov8_triton._cameras.camera import Camera
from yolov8_triton._failover import RetryPolicy
from yolov8_triton._images import Pixels
from yolov8_triton._video.source import FrameSource, VideoError, VideoInfo, open_source

_MOST_ROUNDS = 30
"""Failures in a row beyond which pauses stay the same."""
_STEADY_S = 5.0
"""A source that brought frames for so long starts anew with short pauses when it fails."""
_USUAL_FPS = 25.0

After = Literal["now", "later", "end"]
"""When to open a source again."""


class Sink(Protocol):
    """What a reader tells about its camera."""

    def opened(self, info: VideoInfo) -> None:
        """Take the properties of the source, which has just been opened."""

    def frame(self, time_s: float, pixels: Pixels, captured_at: float, *, keep: bool) -> bool:
        """Take a frame; with ``keep``, wait until the last one was taken. Return False when the reader is to stop."""

    def skipped(self) -> None:
        """Count a frame that is beyond the camera's rate."""

    def failed(self, kind: str, message: str) -> None:
        """Take an error, after which the source is opened again."""

    def over(self) -> None:
        """Learn that no further frame will come."""


class Pace:
    """Chooses the frames of a camera that are asked about, so that there are at most ``fps`` a second."""

    def __init__(self, fps: float | None) -> None:
        self._period_s = 0.0 if fps is None else 1 / fps
        self._due: float | None = None

    def takes(self, now: float) -> bool:
        """Tell whether to take the frame of this time; frames that come a little early count as in time."""
        if self._due is None:
            self._due = now
        if now < self._due - self._period_s / 4:
            return False
        self._due = max(self._due + self._period_s, now)
        return True


class Reader:
    """The thread of a camera."""

    def __init__(self, camera: Camera, sink: Sink, *, reconnect: RetryPolicy) -> None:
        self._camera, self._sink, self._reconnect = camera, sink, reconnect
        self._pace = Pace(camera.fps)
        self._over = threading.Event()
        self._first_at: float | None = None
        self._last_s = 0.0
        self._opened_at = math.inf
        self._thread = threading.Thread(target=self._run, name=f"yolov8-triton-camera-{camera.name}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to end; it does so after the read that it is in."""
        self._over.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        rounds = 0
        while not self._over.is_set():
            self._opened_at = math.inf
            after = self._once()
            if after == "end":
                break
            if after == "later":
                steady = time.monotonic() - self._opened_at > _STEADY_S
                rounds = 1 if steady else min(rounds + 1, _MOST_ROUNDS)
                self._over.wait(self._reconnect.pause_s(rounds))
        self._sink.over()

    def _once(self) -> After:
        """Open the source and read it until it fails or ends."""
        try:
            source = self._opened()
        except Exception as exc:  # noqa: BLE001  (a source may be anybody's)
            self._sink.failed("open", _said(exc))
            return "later"
        self._opened_at = time.monotonic()
        try:
            self._sink.opened(source.info)
            return self._read(source)
        except Exception as exc:  # noqa: BLE001  (a source may be anybody's)
            self._sink.failed("read", _said(exc))
            return "later" if self._can_open_again else "end"
        finally:
            _close(source)

    @property
    def _can_open_again(self) -> bool:
        return callable(self._camera.source) or isinstance(self._camera.source, str | os.PathLike | int)

    def _opened(self) -> FrameSource:
        source = self._camera.source
        if isinstance(source, str | os.PathLike | int):
            return open_source(source, stall_s=self._camera.stall_s)
        return source() if callable(source) else source

    def _read(self, source: FrameSource) -> After:
        """Pass frames on until the source ends."""
        live, keep = source.info.live, not source.info.live and self._camera.pace == "fast"
        opened_at, before_s, count = time.monotonic(), self._last_s, 0
        while not self._over.is_set() and (frame := source.read()) is not None:
            time_s, pixels = frame
            _check(pixels)
            if not live and not keep and self._over.wait(max(opened_at + time_s - time.monotonic(), 0.0)):
                return "end"
            count += 1
            now = time.monotonic()
            self._first_at = now if self._first_at is None else self._first_at
            self._last_s = now - self._first_at if live else before_s + time_s
            if not self._pace.takes(self._last_s):
                self._sink.skipped()
            elif not self._sink.frame(self._last_s, pixels, now, keep=keep):
                return "end"
        self._last_s += 1 / (source.info.fps or _USUAL_FPS)  # when a file that starts again shows its next frame
        return self._after_end(live=live, count=count)

    def _after_end(self, *, live: bool, count: int) -> After:
        if self._over.is_set() or not self._can_open_again:
            return "end"
        if live:
            self._sink.failed("ended", "the source has ended the stream")
            return "later"
        return "now" if self._camera.loop and count else "end"


def _check(pixels: Pixels) -> None:
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3):
        found = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise VideoError(f"the source brought no picture: expected (height, width, 3) uint8 BGR, got {found}")
    if not pixels.size:
        raise VideoError(f"the source brought an empty picture: {pixels.shape}")


def _said(exc: Exception) -> str:
    return str(exc) or type(exc).__name__


def _close(source: FrameSource) -> None:
    try:
        source.close()
    except Exception:  # noqa: BLE001  (a source may be anybody's, and it is not used any more)
        return
