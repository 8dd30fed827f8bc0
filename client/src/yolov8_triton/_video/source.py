# SPDX-License-Identifier: Apache-2.0
"""Read the frames of videos, cameras and streams."""

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
"""OpenCV's log level for no messages."""
_FFMPEG_LEVEL, _FFMPEG_QUIET = "OPENCV_FFMPEG_LOGLEVEL", "-8"
_COUNT_SLACK, _COUNT_SHARE = 2, 0.01
"""Tolerance for a container's frame count, which some containers only estimate: frames and a share."""


class VideoError(YoloTritonError):
    """A video can't be opened, read or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """The properties of a video that are known before its first frame.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        fps: Frames per second; None if the source does not say.
        frame_count: Number of frames according to the file; None for live sources and if the file does not say.
        live: Whether frames arrive in real time, as from a camera, and are lost if nobody reads them.
    """

    width: int
    height: int
    fps: float | None = None
    frame_count: int | None = None
    live: bool = False


class Timed(NamedTuple):
    """A frame with its time: seconds since the first frame, and ``(height, width, 3)`` BGR pixels."""

    time_s: float
    pixels: Pixels


class FrameSource(Protocol):
    """The interface of sources for `video`, such as another camera library or decoder.

    One thread calls ``read`` and ``close``. For live sources it is not the caller's thread.
    """

    @property
    def info(self) -> VideoInfo:
        """The properties of the video."""

    def read(self) -> tuple[float, Pixels] | None:
        """Return the next frame: seconds since the first frame and BGR pixels; return None at the end."""

    def close(self) -> None:
        """Release the source."""


def open_source(source: str | os.PathLike[str] | int, *, stall_s: float) -> FrameSource:
    """Open a file, a camera (by number) or a URL with OpenCV.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: OpenCV can't open the source.
        ImportError: The extra ``video`` is not installed.
    """
    with extra("video"):
        import cv2
    name = source if isinstance(source, int) else os.fspath(source)
    scheme = _scheme(name)
    if isinstance(name, str) and not scheme and (not name or not Path(name).exists()):
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
        raise VideoError(
            f"{_shown(name)}: OpenCV can't open it: is it a video, is it reachable, and is no program using it?"
        )
    return _OpenCvSource(cv2, capture, name, scheme, stall_s)


class _OpenCvSource:
    """A source that OpenCV reads."""

    def __init__(self, cv2: Any, capture: Any, name: str | int, scheme: str, stall_s: float) -> None:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # the default changed with OpenCV 5; it swaps width and height
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
            if time.monotonic() - begin >= self._stall_s:  # for OpenCV, a timeout looks like the end
                raise stalled(self._stall_s)
            if self._read == 0:
                raise VideoError(f"{_shown(self._name)}: OpenCV can read no frame of it: is it complete?")
            self._warn_if_short()
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
        """Return the frame's time stamp, or one frame period after the last frame if it has no time stamp."""
        stamp_s = float(self._capture.get(self._position_ms)) / 1000
        if self._read and stamp_s <= self._last_s:
            return self._last_s + (1 / self.info.fps if self.info.fps else 0.0)
        return stamp_s

    def _warn_if_short(self) -> None:
        """Log that a file ended early, since for OpenCV a damaged frame looks like the end."""
        count = self.info.frame_count
        if count is not None and self._read < count - max(_COUNT_SLACK, _COUNT_SHARE * count):
            logger.warning("%s: ended after %d of %d frames; it may be damaged", _shown(self._name), self._read, count)


def stalled(seconds: float) -> VideoError:
    """Return the error for a source that has delivered no frame for some seconds."""
    return VideoError(f"no frame for {seconds:g} s: the source has stalled")


def _scheme(name: str | int) -> str:
    """Return the scheme of a URL; empty for files and cameras."""
    return urlsplit(name).scheme if isinstance(name, str) and "://" in name else ""


def _shown(name: str | int) -> str:
    """Return the name of a source for messages: a URL without user name and password."""
    if isinstance(name, int):
        return f"camera {name}"
    if not _scheme(name):
        return name
    parts = urlsplit(name)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


@contextmanager
def quiet(cv2: Any) -> Iterator[None]:
    """Silence OpenCV and FFmpeg, since an error says the same; a level that the user has set for FFmpeg is kept."""
    log = getattr(cv2.utils, "logging", cv2)  # from OpenCV 4.13 on it is there alone
    level = log.getLogLevel()
    log.setLogLevel(_SILENT)
    ours = _FFMPEG_LEVEL not in os.environ
    if ours:  # OpenCV reads it only once, at the first video of a process
        os.environ[_FFMPEG_LEVEL] = _FFMPEG_QUIET
    try:
        yield
    finally:
        log.setLogLevel(level)
        if ours:
            del os.environ[_FFMPEG_LEVEL]
