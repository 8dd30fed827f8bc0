# SPDX-License-Identifier: Apache-2.0
"""Fit an image into the network's input, and map results back to the image's own pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PAD_VALUE = 114
"""The grey level of the border around the image, in all three channels."""

_ROUND_HALF_DOWN = 0.1
"""Subtracted before rounding, so that top and left get the smaller half of an odd number of padding pixels."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Placement:
    """The sizes of an image and of the network's input, and how one lies in the other.

    Attributes:
        orig_shape: Height and width of the image as displayed, in pixels.
        imgsz: Height and width of the network's input, in pixels.
        new_shape: Height and width to which the image is resized.
        top: Rows between the upper edges of the resized image and of the input.
        left: Columns between their left edges.
    """

    orig_shape: tuple[int, int]
    imgsz: tuple[int, int]
    new_shape: tuple[int, int]
    top: int
    left: int


@dataclass(frozen=True, slots=True)
class Letterbox(Placement):
    """The position of one image inside the network's input; the border around it is `PAD_VALUE`."""

    @classmethod
    def fit(cls, orig_shape: tuple[int, int], imgsz: tuple[int, int]) -> Letterbox:
        """Place an image of height and width ``orig_shape`` in the centre of an input of ``imgsz``.

        The aspect ratio is kept up to rounding. Small images are enlarged. Each side has at least one pixel.
        """
        height, width = (int(side) for side in orig_shape)
        gain = min(imgsz[0] / height, imgsz[1] / width)
        # Like Ultralytics, `round` rounds halves to even; int(x + 0.5) would not.
        new_height, new_width = max(round(height * gain), 1), max(round(width * gain), 1)
        return cls(
            orig_shape=(height, width),
            imgsz=(int(imgsz[0]), int(imgsz[1])),
            new_shape=(new_height, new_width),
            top=round((imgsz[0] - new_height) / 2 - _ROUND_HALF_DOWN),
            left=round((imgsz[1] - new_width) / 2 - _ROUND_HALF_DOWN),
        )

    @property
    def gain(self) -> tuple[np.float32, np.float32]:
        """The input pixels per image pixel along y and x; rounding makes the two differ."""
        return (
            np.float32(self.new_shape[0] / self.orig_shape[0]),
            np.float32(self.new_shape[1] / self.orig_shape[1]),
        )

    def boxes_to_image(self, xyxy: _Floats) -> _Floats:
        """Convert ``(n, 4)`` corners x1, y1, x2, y2 from input pixels to image pixels, clipped to the image."""
        return self.points_to_image(xyxy.reshape(-1, 2, 2)).reshape(-1, 4)

    def points_to_image(self, points: _Floats) -> _Floats:
        """Convert ``(..., 2 or more)`` points from input pixels to image pixels, clipped to the image.

        The first two values of a point are x and y; the others (visibility) are unchanged.
        """
        gain_y, gain_x = self.gain
        height, width = self.orig_shape
        offset, gain = np.array([self.left, self.top], np.float32), np.array([gain_x, gain_y], np.float32)
        moved = points.copy()
        inside = (points[..., :2] - offset) / gain
        np.clip(inside, np.float32(0), np.array([width, height], np.float32), out=moved[..., :2])
        return moved

    def rotated_to_image(self, xywhr: _Floats) -> _Floats:
        """Convert ``(n, 5)`` rotated boxes (centre, width, height, radians) to image pixels, without clipping.

        As in Ultralytics, width and height are scaled as if the box were upright, and the angle is kept.
        """
        gain_y, gain_x = self.gain
        offset = np.array([self.left, self.top, 0, 0, 0], np.float32)
        return (xywhr - offset) / np.array([gain_x, gain_y, gain_x, gain_y, 1], np.float32)
