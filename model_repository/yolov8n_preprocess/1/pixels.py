# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a file to a network's input, bit for bit as Ultralytics does it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from yolov8_contract.errors import InvalidImageError
from yolov8_contract.letterbox import PAD_VALUE, Letterbox

_WHITE = np.float32(255)

Image = npt.NDArray[np.uint8]
"""``(height, width, 3)``, blue, green, red."""
Planes = npt.NDArray[np.float32]
"""``(1, 3, height, width)``, red, green, blue from 0 to 1: a network's input."""


def configure_opencv() -> None:
    """Leave threads to the batch, and the log to the server: OpenCV writes to it whatever damaged images say."""
    cv2.setNumThreads(1)
    cv2.setLogLevel(0)


def decode(content: bytes) -> Image:
    """Return an image as displayed: EXIF orientation applied, alpha dropped, 16 bit reduced to 8.

    Raises:
        InvalidImageError: OpenCV can't decode it, or there is no memory for it.
    """
    image: Image | None
    try:
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
    """Fit an image into height and width ``imgsz``, with grey around it."""
    fit = Letterbox.fit(shape(image), imgsz)
    height, width = fit.new_shape
    if shape(image) != fit.new_shape:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    if fit.new_shape == imgsz:
        return image
    boxed = np.full((*imgsz, 3), PAD_VALUE, np.uint8)
    boxed[fit.top : fit.top + height, fit.left : fit.left + width] = image
    return boxed


def planes(image: Image) -> Planes:
    """Return an image as a network takes it.

    Dividing is what Ultralytics does: multiplying by 1 / 255 differs in the last bit.
    """
    out = np.empty((1, 3, *shape(image)), np.float32)
    for plane, channel in zip(out[0, ::-1], cv2.split(image), strict=True):
        np.divide(channel, _WHITE, out=plane, dtype=np.float32)
    return out


def rgb(image: Image) -> Image:
    """Return an image as a network takes it that scales and transposes by itself: ``(1, height, width, 3)``."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)[None]  # type: ignore[return-value]
