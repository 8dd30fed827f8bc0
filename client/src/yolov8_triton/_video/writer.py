# SPDX-License-Identifier: Apache-2.0
"""Write videos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from yolov8_triton._extras import extra
from yolov8_triton._images import Pixels
from yolov8_triton._video.source import VideoError, quiet

if TYPE_CHECKING:
    from typing_extensions import Self


# The codecs that OpenCV's own builds can encode with; H.264 is not among them because of its licence.
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
DEFAULT_FPS = 25.0
_LONGEST_GAP_S = 10.0


class VideoWriter:
    """A video file that pictures are written to (extra ``video``); the first picture sets its size.

    The file is complete when it is closed, which ``with`` does.

    Example:
        >>> with video(client.detect, "street.mp4") as frames, VideoWriter("out.mp4", fps=frames.info.fps) as out:
        ...     for frame in frames:
        ...         out.write(frame.draw())
    """

    def __init__(self, path: str | os.PathLike[str], *, fps: float | None = None) -> None:
        """Set the path and the rate; the first picture creates the file.

        Args:
            path: ``.mp4``, ``.mov`` and ``.mkv`` are encoded as MPEG-4 Part 2, ``.avi`` as Motion JPEG.
            fps: Pictures per second; None is 25.

        Raises:
            ValueError: The suffix is none of these, or ``fps`` is not above 0.
            ImportError: The extra is not installed.
        """
        self.path = Path(path)
        self.fps = DEFAULT_FPS if fps is None else fps
        self.written = 0
        if self.path.suffix.lower() not in CODECS:
            raise ValueError(f"{self.path}: expected a name that ends in {', '.join(CODECS)}")
        if not self.fps > 0:
            raise ValueError(f"fps: expected a number above 0, got {fps!r}")
        with extra("video"):
            import cv2
        self._cv2: Any = cv2
        self._file: Any = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, picture: Pixels, *, time_s: float | None = None) -> None:
        """Append a picture.

        Args:
            picture: ``(height, width, 3)`` uint8 BGR; a picture of another size than the first is cut or padded.
            time_s: The time of the picture. It is then repeated or left out so that the video keeps the real speed of
                a live source with dropped frames. Without a time every picture is written once.

        Raises:
            VideoError: The file can't be written.
        """
        if self._file is None:
            self._file = self._open(picture)
        picture = self._fitted(picture)
        times = 1 if time_s is None else self._due(time_s)
        for _ in range(times):
            self._file.write(picture)
        self.written += times

    def close(self) -> None:
        """Finish the file; without pictures there is no file."""
        if self._file is not None:
            self._file.release()

    def _open(self, picture: Pixels) -> Any:
        height, width = picture.shape[:2]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        codec = self._cv2.VideoWriter_fourcc(*CODECS[self.path.suffix.lower()])
        with quiet(self._cv2):
            file = self._cv2.VideoWriter(str(self.path), codec, self.fps, (width, height))
        if not file.isOpened():
            raise VideoError(f"{self.path}: OpenCV can't write it: may the folder be written to?")
        self._size = (height, width)
        return file

    def _fitted(self, picture: Pixels) -> Pixels:
        if picture.shape[:2] == self._size:
            return np.ascontiguousarray(picture)
        height, width = self._size
        canvas = np.zeros((height, width, 3), np.uint8)
        part = picture[:height, :width]
        canvas[: part.shape[0], : part.shape[1]] = part
        return canvas

    def _due(self, time_s: float) -> int:
        """Return how many times to write a picture so that the file's length matches the time that has passed."""
        missing = round(time_s * self.fps) + 1 - self.written
        return min(max(missing, 0), round(_LONGEST_GAP_S * self.fps) + 1)
