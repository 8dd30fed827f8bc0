# SPDX-License-Identifier: Apache-2.0
"""Show a result in its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yolov8_contract import errors as contract
from yolov8_triton._errors import InvalidImageError
from yolov8_triton._extras import extra
from yolov8_triton._images import Channels, ImageInput, as_pil
from yolov8_triton._results.outcome import Result

if TYPE_CHECKING:
    from PIL.Image import Image


def draw(image: ImageInput, result: Result, *, channels: Channels | None = None) -> Image:
    """Draw what was found over the image that it was found in (extra ``draw``).

    Lines and letters grow with the image. Classes have their colours; masks and poses have one an object.

    Args:
        image: The image that was sent, in any form that a client takes; it stays as it is.
        result: What a client returned for it.
        channels: The order of an array's channels.

    Returns:
        An RGB picture as displayed: EXIF orientation applied. ``.save("found.jpg")`` writes it.

    Raises:
        InvalidImageError: Pillow can't read the image.
        ValueError: The result belongs to an image of another size.
        ImportError: The extra is not installed.
    """
    with extra("draw"):
        from yolov8_triton._drawing.painting import paint  # supervision takes most of a second
    try:
        picture = as_pil(image, channels=channels)
    except contract.InvalidImageError as exc:
        raise InvalidImageError(str(exc)) from exc
    if (picture.height, picture.width) != result.orig_shape:
        height, width = result.orig_shape
        raise ValueError(
            f"the result is of an image of {width} x {height} pixels, "
            f"this one has {picture.width} x {picture.height}: draw over the image that was sent"
        )
    return paint(picture, result)
