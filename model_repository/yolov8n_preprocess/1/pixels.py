# SPDX-License-Identifier: Apache-2.0
"""Turn the bytes of an image file into a network's input, equal to Ultralytics' to the bit."""

from __future__ import annotations

import os
import threading
from types import TracebackType

import cv2
import numpy as np
import numpy.typing as npt

from yolov8_contract.errors import InvalidImageError
from yolov8_contract.letterbox import PAD_VALUE, Letterbox

_WHITE = np.float32(255)

Image = npt.NDArray[np.uint8]
"""An image as ``(height, width, 3)`` with channels blue, green, red."""
Planes = npt.NDArray[np.float32]
"""A network's input as ``(1, 3, height, width)`` with channels red, green, blue from 0 to 1."""
Floats = npt.NDArray[np.float32]
"""A network's input as ``(1, height, width, 3)`` with channels red, green, blue from 0 to 1."""


def configure_opencv() -> None:
    """Turn off OpenCV's threads, since the batch has its own, and its messages about damaged images."""
    cv2.setNumThreads(1)
    cv2.setLogLevel(0)


class _Silence:
    """Sends the process' standard error to nowhere while a thread of it decodes.

    libpng and libjpeg write warnings there, with bytes of the image in them: a caller could fill the server's log.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._inside = 0
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        self._stderr = -1

    def __enter__(self) -> None:
        """Enter the context."""
        with self._changing:
            if self._inside == 0:
                self._stderr = os.dup(_STDERR)
                os.dup2(self._nowhere, _STDERR)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give standard error back when the last thread has decoded."""
        with self._changing:
            self._inside -= 1
            if self._inside == 0:
                os.dup2(self._stderr, _STDERR)
                os.close(self._stderr)


_STDERR = 2
_silence = _Silence()


def decode(content: bytes) -> Image:
    """Return an image as displayed: EXIF orientation applied, alpha dropped, 16 bit reduced to 8.

    Raises:
        InvalidImageError: OpenCV can't decode the image, or it needs more memory than there is.
    """
    image: Image | None
    try:
        with _silence:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[assignment]
    except (cv2.error, MemoryError) as exc:
        raise InvalidImageError("it can't be decoded, its data are damaged or too large") from exc
    if image is None:
        raise InvalidImageError("it can't be decoded, its data are damaged")
    return image


def shape(image: Image) -> tuple[int, int]:
    """Return height and width in pixels."""
    height, width, _ = image.shape
    return height, width


def letterboxed(image: Image, imgsz: tuple[int, int]) -> Image:
    """Fit an image into height and width ``imgsz`` with a grey border."""
    fit = Letterbox.fit(shape(image), imgsz)
    height, width = fit.new_shape
    if shape(image) != fit.new_shape:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    if fit.new_shape == imgsz:
        return image
    boxed = np.empty((*imgsz, 3), np.uint8)
    bottom, right = fit.top + height, fit.left + width
    for border in (
        boxed[: fit.top],
        boxed[bottom:],
        boxed[fit.top : bottom, : fit.left],
        boxed[fit.top : bottom, right:],
    ):
        border.fill(PAD_VALUE)
    boxed[fit.top : bottom, fit.left : right] = image
    return boxed


def planes(image: Image) -> Planes:
    """Return an image as the input of an ``fp32`` network.

    Ultralytics divides by 255; multiplying by 1 / 255 would differ in the last bit.
    """
    out = np.empty((1, 3, *shape(image)), np.float32)
    channel = np.empty(shape(image), np.uint8)  # one for all three, which stays in the processor's cache
    for index, plane in enumerate(out[0, ::-1]):
        np.divide(cv2.extractChannel(image, index, channel), _WHITE, out=plane, dtype=np.float32)
    return out


def floats(image: Image) -> Floats:
    """Return an image as the input of an ``fp32-nhwc`` network: the numbers of `planes`, channels last."""
    return np.divide(rgb(image), _WHITE, dtype=np.float32)


def rgb(image: Image) -> Image:
    """Return an image as the input ``(1, height, width, 3)`` of a ``uint8`` network."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)[None]  # type: ignore[return-value]
