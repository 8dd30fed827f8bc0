# SPDX-License-Identifier: Apache-2.0
"""Make a classifier's input, the centre of the resized image; equal to Ultralytics' with Pillow to the bit."""

from __future__ import annotations

import numpy as np
from pixels import Image, shape

from yolov8_contract.center_crop import CenterCrop

try:
    import PIL.Image as pillow  # noqa: N813  (it is used as a module)
except ImportError:
    pillow = None  # type: ignore[assignment]

PILLOW_MISSING = "Pillow is not installed: classification gives the same results, but resizing is up to 5 times slower"

_PILLOW_ASPECT = 4
"""The largest aspect ratio to resize with Pillow. Pillow resizes the whole image and the contract's code only the crop,
which is faster on longer images. For 1 x 5000 pixels Pillow would need a gigabyte."""


def has_pillow() -> bool:
    """Return whether Pillow is installed."""
    return pillow is not None


def center_cropped(image: Image, imgsz: tuple[int, int]) -> Image:
    """Resize the short side of an image to that of ``imgsz`` and crop the centre."""
    fit = CenterCrop.fit(shape(image), imgsz)
    return _pillow_apply(fit, image) if _suits_pillow(fit) else fit.apply(image)


def _suits_pillow(fit: CenterCrop) -> bool:
    # From version 13 on, Pillow resizes the height of tall images first. The contract's code always does so, whichever
    # version is installed.
    aspect = max(fit.orig_shape) / min(fit.orig_shape)
    return has_pillow() and aspect <= _PILLOW_ASPECT and not fit.vertical_first


def _pillow_apply(fit: CenterCrop, image: Image) -> Image:
    height, width = fit.new_shape
    resized = pillow.fromarray(image).resize((width, height), pillow.Resampling.BILINEAR)
    input_height, input_width = fit.imgsz
    box = (fit.left, fit.top, fit.left + input_width, fit.top + input_height)
    return np.asarray(resized.crop(box))
