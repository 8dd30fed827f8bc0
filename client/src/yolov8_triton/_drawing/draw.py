# SPDX-License-Identifier: Apache-2.0
"""Draw results on the images that they belong to."""

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
    """Draw a result on a copy of its image (extra ``draw``).

    Lines and letters scale with the image. Boxes have the colour of their class; masks and poses have a colour for
    each object, and tracked objects have one for each track.

    Args:
        image: The image that was sent, in any form that a client takes.
        result: The result that a client returned for it.
        channels: The order of an array's channels.

    Returns:
        An RGB image, turned as the server turned it: by EXIF in JPEG and PNG. ``.save("found.jpg")`` writes it.

    Raises:
        InvalidImageError: Pillow can't read the image, or it is not a picture.
        ValueError: The result belongs to an image of another size.
        ImportError: The extra is not installed.
    """
    with extra("draw"):
        from yolov8_triton._drawing.painting import paint  # importing supervision is slow
    try:
        picture = as_pil(image, channels=channels)
    except contract.InvalidImageError as exc:
        raise InvalidImageError(str(exc)) from exc
    if (picture.height, picture.width) != result.orig_shape:
        height, width = result.orig_shape
        raise ValueError(
            f"the result belongs to an image of {width} x {height} pixels, "
            f"but this image has {picture.width} x {picture.height}; draw on the image that was sent"
        )
    return paint(picture, result)
