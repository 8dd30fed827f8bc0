# SPDX-License-Identifier: Apache-2.0
"""Where frames come from."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from yolov8_triton._errors import YoloTritonError
from yolov8_triton._extras import extra
from yolov8_triton._images import Pixels

logger = logging.getLogger(__name__)

DEFAULT_STALL_S = 10.0

_LIVE_SCHEMES = {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp"}
_WEB_SCHEMES = {"http", "https"}
_SILENT = 0
"""OpenCV's number for it."""
_FFMPEG_LEVEL, _FFMPEG_QUIET = "OPENCV_FFMPEG_LOGLEVEL", "-8"
_COUNT_SLACK, _COUNT_SHARE = 2, 0.01
"""How far a container's number of frames, which some only estimate, may be off."""


class VideoError(YoloTritonError):
    """A video can't be opened, read on or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What is known of a video before its first frame.

    Attributes:
        width: In pixels.
        height: In pixels.
        fps: Frames a second; None where the source doesn't say.
        frame_count: How many frames there are, as the file says; None for what has no end.
        live: Whether frames come at their own time, as from a camera, instead of being read when they are wanted.
    """

    width: int
    height: int
    fps: float | None = None
    frame_count: int | None = None
    live: bool = False


class Timed(NamedTuple):
    """One frame as it was read: seconds since the first one, and ``(height, width, 3)`` BGR."""

    time_s: float
    pixels: Pixels


class FrameSource(Protocol):
    """What `video` reads frames from: a camera of your own, another decoder.

    ``read`` and ``close`` are called by one thread, which for live sources is not the caller's.
    """

    @property
    def info(self) -> VideoInfo:
        """What is known of it."""

    def read(self) -> tuple[float, Pixels] | None:
        """Return the next frame, seconds since the first one and BGR pixels; None: there are no more."""

    def close(self) -> None:
        """Give it up."""


def open_source(source: str | os.PathLike[str] | int, *, stall_s: float) -> FrameSource:
    """Open a file, the camera of that number or a URL with OpenCV.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: OpenCV can't open it.
        ImportError: The extra ``video`` is not installed.
    """
    with extra("video"):
        import cv2
    name = source if isinstance(source, int) else os.fspath(source)
    scheme = _scheme(name)
    if isinstance(name, str) and not scheme and not Path(name).exists():
        raise FileNotFoundError(2, "no such video file", name)
    with quiet(cv2):
        if scheme:
            limit_ms = round(stall_s * 1000)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
            capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, limits)
        else:
            capture = cv2.VideoCapture(name)
    if not capture.isOpened():
        capture.release()
        raise VideoError(f"{_shown(name)}: OpenCV can't open it: is it a video, and is it there and free?")
    return _OpenCvSource(cv2, capture, name, scheme, stall_s)


class _OpenCvSource:
    """Frames that OpenCV reads."""

    def __init__(self, cv2: Any, capture: Any, name: str | int, scheme: str, stall_s: float) -> None:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        live = isinstance(name, int) or scheme in _LIVE_SCHEMES or (scheme in _WEB_SCHEMES and count <= 0)
        self.info = VideoInfo(
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            fps=fps if 0 < fps < float("inf") else None,
            frame_count=count if count > 0 and not live else None,
            live=live,
        )
        self._capture, self._name, self._stall_s = capture, name, stall_s
        self._position_ms = cv2.CAP_PROP_POS_MSEC
        self._read = 0
        self._first_at = 0.0
        self._last_s = 0.0

    def read(self) -> tuple[float, Pixels] | None:
        begin = time.monotonic()
        there, pixels = self._capture.read()
        if not there:
            if time.monotonic() - begin >= self._stall_s:  # OpenCV gave up waiting, and tells it like an end
                raise stalled(self._stall_s)
            self._say_if_short()
            return None
        self._last_s = self._clock_s() if self.info.live else self._file_s()
        self._read += 1
        return self._last_s, pixels

    def close(self) -> None:
        self._capture.release()

    def _clock_s(self) -> float:
        now = time.monotonic()
        if self._read == 0:
            self._first_at = now
        return now - self._first_at

    def _file_s(self) -> float:
        """Return the frame's own time stamp, or what the frame rate makes of its number where there is none."""
        stamp_s = float(self._capture.get(self._position_ms)) / 1000
        if self._read and stamp_s <= self._last_s:
            return self._last_s + (1 / self.info.fps if self.info.fps else 0.0)
        return stamp_s

    def _say_if_short(self) -> None:
        """Log that a file ends early; OpenCV tells the end and a damaged frame alike."""
        count = self.info.frame_count
        if count is not None and self._read < count - max(_COUNT_SLACK, _COUNT_SHARE * count):
            logger.warning("%s: ended after %d of %d frames; it may be damaged", _shown(self._name), self._read, count)


def stalled(seconds: float) -> VideoError:
    """Return the error of a source that brings nothing any more."""
    return VideoError(f"no frame for {seconds:g} s: the source has stalled")


def _scheme(name: str | int) -> str:
    """Return the scheme of a URL; nothing for the rest."""
    return urlsplit(name).scheme if isinstance(name, str) and "://" in name else ""


def _shown(name: str | int) -> str:
    """Return how messages name a source: a URL without the user's name and password."""
    if isinstance(name, int):
        return f"camera {name}"
    if not _scheme(name):
        return name
    parts = urlsplit(name)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def quiet(cv2: Any) -> Iterator[None]:
    """Keep OpenCV and FFmpeg from writing to stderr what an error will say; levels that the user set hold."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(_SILENT)
    ours = _FFMPEG_LEVEL not in os.environ
    if ours:  # OpenCV reads it at the first video of a process, once and for all
        os.environ[_FFMPEG_LEVEL] = _FFMPEG_QUIET
    try:
        yield
    finally:
        cv2.setLogLevel(level)
        if ours:
            del os.environ[_FFMPEG_LEVEL]
