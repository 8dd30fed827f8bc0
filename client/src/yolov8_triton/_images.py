# SPDX-License-Identifier: Apache-2.0
"""The kinds of images that calls accept, and the bytes that are sent for them."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from yolov8_contract.errors import InvalidImageError

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

JPEG_QUALITY = 95
"""JPEG quality; at Pillow's default of 75, scores change by some hundredths."""


class ReadableFile(Protocol):
    """An open binary file, or an object with the same ``read``."""

    def read(self) -> bytes:
        """Return the remaining bytes."""


Pixels = npt.NDArray[np.uint8]
Channels = Literal["RGB", "BGR"]
ArrayFormat = Literal["jpeg", "bmp"]
# Only type checkers evaluate this union: Pillow is not imported for those who send files.
if TYPE_CHECKING:
    ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | PilImage | Pixels
else:
    ImageInput = Any


def encoded(image: ImageInput, *, channels: Channels | None, array_format: ArrayFormat) -> bytes:
    """Return the bytes to send.

    Args:
        image: A path, the bytes of a file, an open file, a PIL image, or an array of pixels.
        channels: Order of an array's channels; ignored for other images.
        array_format: How pixels travel: ``jpeg`` is small, ``bmp`` lossless.

    Raises:
        OSError: A file can't be read.
        InvalidImageError: An array or a PIL image has no pixels.
        TypeError: It is none of these, or an array without ``channels``.
    """
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, np.ndarray) or _is_pil(image):
        return _compressed(as_pil(image, channels=channels), array_format)
    if hasattr(image, "read"):
        return bytes(image.read())
    raise TypeError(f"an image is a path, bytes, an open binary file, a PIL image or an array, got {type(image)!r}")


def as_pil(image: ImageInput, *, channels: Channels | None) -> PilImage:
    """Return an RGB image as displayed: EXIF orientation applied. Arguments and errors as for `encoded`."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # 40 ms that those who send files never need

    if isinstance(image, np.ndarray):
        return Image.fromarray(_rgb(image, channels))
    if not isinstance(image, Image.Image):
        content = encoded(image, channels=None, array_format="bmp")
        try:
            image = Image.open(io.BytesIO(content))
        # Ultralytics, once imported, puts its own `Image.open` there, which looks for a HEIF plugin first.
        except (UnidentifiedImageError, ModuleNotFoundError) as exc:
            raise InvalidImageError(f"no image format that Pillow knows, {len(content)} bytes") from exc
    if 0 in image.size:
        raise InvalidImageError(f"a PIL image of {image.width} x {image.height} pixels has none")
    return ImageOps.exif_transpose(image).convert("RGB")


def _is_pil(image: object) -> bool:
    module = sys.modules.get("PIL.Image")  # not imported: then nobody can hold an image of it
    return module is not None and isinstance(image, module.Image)


def _rgb(array: npt.NDArray[Any], channels: Channels | None) -> Pixels:
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InvalidImageError(
            f"an array must be uint8 of shape (height, width, 3) or (height, width), got {array.dtype} {array.shape}"
        )
    if 0 in array.shape:
        raise InvalidImageError(f"an array of shape {array.shape} has no pixels")
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    if channels not in ("RGB", "BGR"):
        raise TypeError(
            f"an array doesn't say what its channels are: give channels='RGB' or (OpenCV's) 'BGR', got {channels!r}"
        )
    return np.ascontiguousarray(array if channels == "RGB" else array[..., ::-1])


def _compressed(image: PilImage, array_format: ArrayFormat) -> bytes:
    content = io.BytesIO()
    if array_format == "bmp":
        image.save(content, "BMP")
    else:
        image.save(content, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return content.getvalue()
